"""`Reporter`: what the command `train` prints before and after the epochs."""


class Reporter:
    """Prints to a rich Console what is trained, and how training ended."""

    def __init__(self, console):
        self.console = console

    def line(self, text: str):
        """Print a text, unless it is empty."""
        if text:
            self.console.print(text)

    def data(self, train, val):
        """A line of the images and objects of two loaders, one of each field's classes, and what was skipped."""
        from visiontasks.data.checks.summary import summary  # here, so that help comes without OpenCV

        self.line("\n".join(summary(train.source, val.source, train.fields)))
        self.skipped(train, val)

    def skipped(self, train, val) -> str:
        """What was skipped, mended or warned of; returns the list of all names, or ""."""
        # both loaders of a split data set share a report
        reports = {id(loader.source.report): loader.source.report for loader in (train, val)}
        reports = [report for report in reports.values() if report]
        self.line("\n".join(map(str, reports)))
        return "".join(report.whole() + "\n" for report in reports)

    def model(self, model, name: str):
        """The parameters of a VisionModel on the backbone `name`, and the shapes of the backbone's outputs."""
        self.line(f"backbone {name}: {model.backbone.count_params():,} parameters")
        for tap, output in model.backbone.output.items():
            self.line(f"  {tap:8}{tuple(output.shape)}")
        for key, head in model.heads.items():
            self.line(f"head {key}: {head.count_params():,} parameters, {len(head.classes)} classes")

    def step(self, memory: dict[str, int], policy: str, batch: dict):
        """The memory of a step in bytes, and the arrays of a batch."""
        parts = ", ".join(f"{key} {value / 2**20:,.0f} MiB" for key, value in memory.items())
        self.line(f"memory of a step, about {sum(memory.values()) / 2**20:,.0f} MiB ({parts}) in {policy}")
        self.line("batch: " + ", ".join(f"{key} {value.dtype} {value.shape}" for key, value in batch.items()))

    def stopped(self, run, when: str):
        """The last checkpoint of a stopped run."""
        checkpoint = f"the last checkpoint: {run.last}" if run.last.is_file() else "there is no checkpoint yet"
        resume = f"; go on with resume={run.path}" if run.states.files else ""
        self.line(f"stopped {when}; {checkpoint}{resume}")

    def ended(self, run, ended: dict, tasks: dict, seconds: float):
        """The best epoch, its score, and where the results are; `ended` is what `fit` returns."""
        if ended["best_epoch"]:
            (name,) = [task.main_metric for task in tasks.values()] if len(tasks) == 1 else ["score"]
            self.line(f"best epoch {ended['best_epoch']} of {ended['epochs']}: {name} {ended['best_score']:.4f}")
        self.line(f"{seconds / 60:.1f} minutes of training; results: {run.path}")
