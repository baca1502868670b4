"""The settings of a training."""

from dataclasses import asdict, dataclass, field

from ..augmentation import Augmentation
from ..errors import FaceMTLError
from ..losses import WEIGHTINGS
from ..tasks import TASKS, Classification, Regression, task_named


@dataclass(frozen=True)
class TrainConfig:
    """One recipe for all four models; only `tasks` differs between them."""

    tasks: tuple[str, ...] = tuple(task.name for task in TASKS)
    backbone: str = "resnet18"  # the name of a torchvision classification model
    pretrained: bool = True  # start from ImageNet weights, unless there is a `start`
    start: str = ""  # the .json file of a trained model to start from
    stages: tuple[tuple[int, int], ...] = ((64, 10), (96, 10), (112, 3))  # (image size in px, epochs), one after another
    batch_size: int = 64
    lr: float = 2e-3  # the peak of the one-cycle schedule
    warmup: float = 0.25  # share of the schedule in which the rate rises to its peak
    weight_decay: float = 0.05
    dropout: float = 0.2  # before each head
    grad_clip: float = 5.0  # largest norm of the gradient
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixup: float = 0.0  # alpha of the Beta distribution that two images are mixed by; 0 mixes none
    label_smoothing: float = Classification.label_smoothing
    sigma: float = Regression.sigma  # of the Gaussian around an age that is learned, in years
    weighting: str = "fixed"  # how several losses become one: a name in losses.WEIGHTINGS
    teachers: tuple[str, ...] = ()  # .json files of trained models, whose mean answer is learned beside the labels
    teacher_weight: float = 0.5  # of the teachers in each loss; the labels have the rest
    sam: float = 0.0  # how far weights move uphill before the gradient is taken (sharpness-aware minimisation); 0: not
    ema: float = 0.0  # decay per step of the running mean of the weights, which is then what is kept; 0 keeps the last
    seed: int = 0

    def __post_init__(self):
        for name in self.tasks:
            task_named(name)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise FaceMTLError(f"tasks must name at least one task, each once; found {', '.join(self.tasks) or 'none'}.")
        if not self.stages or any(size < 32 or epochs < 1 for size, epochs in self.stages):
            raise FaceMTLError(f"stages must be (size of at least 32 px, at least one epoch); found {self.stages}.")
        limits = {
            "batch_size": (2, 4096), "lr": (1e-7, 1.0), "warmup": (0.001, 0.999), "weight_decay": (0, 1), "dropout": (0, 0.95),
            "grad_clip": (1e-3, 1e6), "mixup": (0, 10), "label_smoothing": (0, 0.9), "sigma": (0.1, 50), "ema": (0, 0.99999),
            "teacher_weight": (0, 1), "sam": (0, 10), "seed": (0, 2**32 - 1),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise FaceMTLError(f"{name} must be from {low} to {high}; found {value}.")
        if self.weighting not in WEIGHTINGS:
            raise FaceMTLError(f"weighting must be one of {', '.join(WEIGHTINGS)}; found {self.weighting!r}.")

    @property
    def name(self) -> str:
        """The model's name: its task, `multitask` for all of them, else the tasks joined by plus signs."""
        if set(self.tasks) == {task.name for task in TASKS}:
            return "multitask"
        return "+".join(self.tasks)

    @property
    def sizes(self) -> list[int]:
        """The image size of each epoch."""
        return [size for size, epochs in self.stages for _ in range(epochs)]

    @classmethod
    def of_plain(cls, plain: dict) -> "TrainConfig":
        """What `plain` made plain; settings that are younger than it have their defaults."""
        tuples = {name: tuple(plain[name]) for name in ("tasks", "teachers") if name in plain}
        stages = tuple(tuple(stage) for stage in plain["stages"])
        return cls(**{**plain, **tuples, "stages": stages, "augmentation": Augmentation(**plain["augmentation"])})

    def plain(self) -> dict:
        """Itself as lists, dicts and numbers, so that it compares equal after being stored."""
        lists = {"tasks": list(self.tasks), "stages": [list(stage) for stage in self.stages], "teachers": list(self.teachers)}
        return asdict(self) | lists
