"""What `fit` gives: the mean losses of each epoch, as a dict that shows itself as a table."""

HEAD = 3  # of many epochs these are shown,
TAIL = 8  # and the last


class History(dict[str, list[float]]):
    """{"training": […], "validation": […]}: a list with the mean loss of each epoch.

    Where there are no data for validation its list is empty. `plot.loss_curve` draws it.
    """

    def __repr__(self) -> str:
        """A line for each epoch; of more than 12, the first and the last."""
        columns = {name: losses for name, losses in self.items() if losses}
        epochs = max(map(len, columns.values()), default=0)
        if epochs == 0:
            return "History(no epoch yet)"
        head = "epoch" + "".join(f"{name:>12}" for name in columns)
        rows = []
        for i in range(epochs):
            cells = (f"{each[i]:.4g}" if i < len(each) else "" for each in columns.values())
            rows.append(f"{i + 1:>5}" + "".join(f"{cell:>12}" for cell in cells))
        if epochs > HEAD + TAIL + 1:
            rows[HEAD:-TAIL] = [f"{'…':>5}"]
        return "\n".join([head, *rows])
