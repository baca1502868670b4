"""Training settings. Without torch, since the command line is built from them."""

from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real

from ..errors import FaceMTLError
from ..models import FACE_RESNET
from ..tasks import TASKS, Classification, Regression, task_named

WEIGHTINGS = ("fixed", "equal", "uncertainty")
MAX_BLUR = 0.03  # standard deviation of the strongest blur, as a share of a side


# What a setting may be, by the type of its field, and how that is called.
_KINDS = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text"),
}


def _check_types(settings: object) -> None:
    """Raise FaceMTLError if a setting has a wrong type. Numbers of NumPy become plain ones."""
    for setting in fields(settings):
        if setting.type not in _KINDS:
            continue
        (kind, words), value = _KINDS[setting.type], getattr(settings, setting.name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise FaceMTLError(f"{setting.name} must be {words}; found {value!r}.")
        object.__setattr__(settings, setting.name, setting.type(value))  # they are frozen


def _amount(default: float, meaning: str, most: float = 1.0) -> float:
    return field(default=default, metadata={"help": meaning, "most": most})


@dataclass(frozen=True)
class Augmentation:
    """The strength of each augmentation, or the share of images that get it.

    All amounts are drawn uniformly, separately for each image.
    """

    rotation: float = _amount(12.0, "rotation by up to so many degrees, to either side", most=180)
    scale: float = _amount(0.10, "relative change of size", most=0.9)
    shift: float = _amount(0.06, "share of a side, in each direction")
    light: float = _amount(0.30, "relative change of brightness and contrast, and of gamma")
    dark: float = _amount(
        0.20, "share of images darkened, to as little as a quarter of their brightness"
    )
    tint: float = _amount(0.12, "relative change of each colour, as by lamps and faded prints")
    gray: float = _amount(0.20, "share of images made gray")
    blur: float = _amount(
        0.20, f"share of images blurred, by up to {100 * MAX_BLUR:.0f} %% of a side"
    )
    jpeg: float = _amount(0.15, "share of images compressed again, as JPEGs of low quality")
    erase: float = _amount(0.15, "share of images that lose a patch of 15 to 40 %% of a side")

    def __post_init__(self):
        _check_types(self)
        for name, setting in self.__dataclass_fields__.items():
            if not 0 <= (value := getattr(self, name)) <= setting.metadata["most"]:
                raise FaceMTLError(
                    f"{name} must be from 0 to {setting.metadata['most']:g}; found {value}."
                )

    def scaled(self, factor: float) -> "Augmentation":
        """A copy with all amounts multiplied by `factor`."""
        return Augmentation(**{name: factor * value for name, value in asdict(self).items()})


def _setting(default, meaning: str, low: float | None = None, high: float | None = None):
    return field(default=default, metadata={"help": meaning, "range": (low, high)})


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of a training. All four models share it and differ only in `tasks`.

    The heads are trained first, on a frozen backbone. Then the whole model is trained, with a lower
    learning rate for the backbone.
    """

    tasks: tuple[str, ...] = tuple(task.name for task in TASKS)
    backbone: str = _setting(
        FACE_RESNET, f"{FACE_RESNET}, or a classification model of torchvision such as resnet18"
    )
    pretrained: bool = _setting(True, "start from pretrained weights")
    start: str = _setting("", "a model file to start from, such as assets/models/multitask.onnx")
    size: int = _setting(150, "side of the images that the model sees, in px", 32, 1024)
    frozen_epochs: int = _setting(1, "epochs that train the heads alone", 0, 1000)
    epochs: int = _setting(6, "epochs that train the whole model", 1, 1000)
    share: float = _setting(1.0, "share of the training images to learn from", 1e-4, 1)
    batch_size: int = _setting(48, "images per step", 2, 4096)
    lr: float = _setting(1e-4, "peak learning rate of the backbone", 1e-7, 1.0)
    head_lr: float = _setting(
        6e-4, "peak learning rate of the heads; twice that while the backbone is frozen", 1e-7, 1.0
    )
    warmup: float = _setting(
        0.25, "share of the schedule in which the rate rises to its peak", 0.001, 0.999
    )
    weight_decay: float = _setting(0.05, "weight decay of AdamW", 0, 1)
    dropout: float = _setting(0.2, "dropout before each head", 0, 0.95)
    grad_clip: float = _setting(5.0, "largest norm of the gradient", 1e-3, 1e6)
    ema: float = _setting(
        0.998,
        "decay per step of the running mean of the weights, which the model gets at the end;"
        " 0 turns it off",
        0,
        0.99999,
    )
    label_smoothing: float = _setting(
        Classification.label_smoothing, "label smoothing, as a share", 0, 0.9
    )
    sigma: float = _setting(
        Regression.sigma,
        "standard deviation of the Gaussian around a labelled age, in years",
        0.1,
        50,
    )
    weighting: str = _setting(
        "fixed", f"how the losses of several tasks are weighted: {', '.join(WEIGHTINGS)}"
    )
    seed: int = _setting(0, "seed of all random numbers", 0, 2**32 - 1)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
        _check_types(self)
        if not isinstance(self.tasks, tuple | list):
            raise FaceMTLError(
                f"tasks must be a tuple of names, such as ('age',); found {self.tasks!r}."
            )
        if not isinstance(self.augmentation, Augmentation):
            raise FaceMTLError(
                f"augmentation must be an Augmentation; found {self.augmentation!r}."
            )
        for name in self.tasks:
            task_named(name)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise FaceMTLError(
                "tasks must name at least one task, each once; found"
                f" {', '.join(self.tasks) or 'none'}."
            )
        for setting in fields(self):
            low, high = setting.metadata.get("range", (None, None))
            if low is not None and not low <= (value := getattr(self, setting.name)) <= high:
                raise FaceMTLError(f"{setting.name} must be from {low} to {high}; found {value}.")
        if self.weighting not in WEIGHTINGS:
            raise FaceMTLError(
                f"weighting must be one of {', '.join(WEIGHTINGS)}; found {self.weighting!r}."
            )

    @property
    def name(self) -> str:
        """The model's name: its task, `multitask` for all, or its tasks joined by plus signs."""
        if set(self.tasks) == {task.name for task in TASKS}:
            return "multitask"
        return "+".join(self.tasks)

    @property
    def phases(self) -> tuple[tuple[bool, int], ...]:
        """The phases of the training, in order: (is the backbone frozen, number of epochs)."""
        return tuple(
            (frozen, n) for frozen, n in ((True, self.frozen_epochs), (False, self.epochs)) if n
        )

    def plain(self) -> dict:
        """The settings as lists, dicts, strings and numbers, as they are stored in files."""
        return {**asdict(self), "tasks": list(self.tasks)}

    @classmethod
    def of_plain(cls, plain: dict) -> "TrainConfig":
        """The inverse of `plain`."""
        return cls(
            **{
                **plain,
                "tasks": tuple(plain["tasks"]),
                "augmentation": Augmentation(**plain["augmentation"]),
            }
        )
