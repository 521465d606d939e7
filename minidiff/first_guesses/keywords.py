"""Keywords that people try, and what they are called here."""

from collections.abc import Iterable

KEYWORDS = {
    "dim": "dim is called axis here",
    "dims": "dims is called axis here",
    "dim0": "dim0 is called axis1 here",
    "dim1": "dim1 is called axis2 here",
    "keepdim": "keepdim is called keepdims here",
    "unbiased": "unbiased is called ddof here: ddof=1 is what unbiased=True means",
    "correction": "correction is called ddof here",
    "inplace": "there is no inplace: operations give a new array",
    "dtype": "there is no dtype: use .astype(dtype), before or after",
    "device": 'there is no device: use .to("cuda")',
    "min": "min is called a_min here",
    "max": "max is called a_max here",
    "other": "the other operand is given by position",
    "input": "the array is given by position",
    "a": "the array is given by position",
    "descending": "there is no descending: sort -x",
    "p": "p is called ord here",
    "initial": "there is no initial: use ops.maximum, or + on the result",
    "order": "there is no order: elements are in C order",
    "training": "there is no training: leave the call out when not training",
    "eps": "eps is a keyword of normalisations and optimisers only",
}
"""What to do about a keyword that an operation does not have."""

SAMPLING = {
    "num_inference_steps": "num_inference_steps is called steps here",
    "num_steps": "num_steps is called steps here",
    "guidance_scale": "guidance_scale is called scale here: type "
    "sample(guidance.classifier_free(denoise, scale))",
    "guidance_rescale": "type guidance.guided(denoise, scale, combine=guidance.rescaled(phi))",
    "rule": "rule is called combine here: type guidance.guided(denoise, scale, combine=rule)",
    "generator": "generator is called rng here",
    "seed": "seed is called rng here",
    "labels": "labels are called condition here",
    "class_labels": "class_labels are called condition here",
    "prompt": "prompt is called condition here: labels, or vectors (batch, d)",
    "negative_prompt": "type guidance.guided(denoise, scale, against=label)",
    "strength": "strength is called start here: type start=strength * schedule.timesteps",
    "image": "image is called x0 here, and known for inpaint",
    "mask_image": "mask_image is called mask here, and is 1 where the image is known",
    "num_images_per_prompt": "num_images_per_prompt is called n here",
    "batch_size": "batch_size is called n here",
    "num_samples": "num_samples is called n here",
    "height": "type shape=(height, width, channels)",
    "width": "type shape=(height, width, channels)",
    "image_size": "type shape=(height, width, channels)",
    "timesteps": "timesteps are called times here: type times=diffusion.times(schedule, steps)",
    "scheduler": "scheduler is called sampler here",
    "latents": "latents are called x here, the argument of a sampler",
    "output_type": "there is no output_type: arrays come out",
    "num_train_timesteps": "num_train_timesteps is called timesteps here",
    "prediction_type": "prediction_type is called predicts here",
    "shift": "type straight_schedule(T, shift), or times(schedule, steps, shift=shift)",
}
"""The same of what samples, guides and edits: the words of other diffusion libraries."""

_LEARNED = "guidance is learned: type mean_flow.loss(model, x0, labels, rng, guidance=1.3)"
_OTHER_WAYS = "there is no sampler: type diffusion.sample(model, labels, sampler='heun')"
FEW_PASSES = SAMPLING | {
    "steps": "steps are called passes here",
    "num_steps": "num_steps is called passes here",
    "num_inference_steps": "num_inference_steps is called passes here",
    "sampler": _OTHER_WAYS,
    "scheduler": _OTHER_WAYS,
    "guidance": _LEARNED,
    "guidance_scale": _LEARNED,
    "scale": _LEARNED,
    "schedule": "there is no schedule: it is the straight one of model.timesteps",
}
"""The same of `diffusion.mean_flow`, which has other words."""

PREDICTED = {
    "epsilon": "noise",
    "eps": "noise",
    "sample": "x0",
    "x_start": "x0",
    "v_prediction": "v",
    "flow": "velocity",
    "flow_prediction": "velocity",
    "u": "velocity",
}
"""What a network predicts, in those words, and what it is called here."""


def misnamed(
    operation: str, keywords: Iterable[str], table: dict[str, str] = KEYWORDS
) -> str | None:
    """«sum: dim is called axis here»; None unless one of the keywords is one that people try."""
    sentences = [table[name] for name in keywords if name in table]
    return f"{operation}: {', '.join(sentences)}" if sentences else None
