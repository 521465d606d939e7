// A canvas to draw on, inside a gr.HTML: its value is a PNG in a data: address, or "".
const canvas = element.querySelector("canvas");
const pen = canvas.getContext("2d");
const colour = element.querySelector("input");
let last = null;

function place(event) {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function draw_to(next) {
  pen.lineCap = "round";
  pen.lineWidth = canvas.width / 13;  // as thick as the strokes of MNIST
  pen.strokeStyle = colour ? colour.value : "white";
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...next);
  pen.stroke();
  last = next;
}

function send(value) {
  props.value = value;
  trigger("change");
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
  draw_to(last);
});
canvas.addEventListener("pointermove", (event) => last && draw_to(place(event)));
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => {
    last = null;
    send(canvas.toDataURL("image/png"));
  });
}
element.querySelector("button").addEventListener("click", () => {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  send("");
});
