"""Ways to run the models on this CPU: python benchmarks/runtimes.py.

Each way answers for the same image and its mirror image with all models, in turns with the other
ways; OpenVINO where it is installed. Printed are the seconds to load the
models, median and quartiles of the milliseconds of all models, the CPU milliseconds meanwhile and
in the 50 ms afterwards, and the largest difference of an output from torch's.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from facemtl.inference.predictor import LoadedModel, Predictor, session_options, threads  # noqa: E402
from facemtl.models.model_file import INPUT, load_model  # noqa: E402

Logits = dict[str, np.ndarray]  # by task
Run = Callable[[np.ndarray], Logits]  # images (2, 3, S, S) -> logits
Way = Callable[[np.ndarray], list[Logits]]  # of all models
AFTERWARDS = 0.05  # seconds


def one_after_another(runs: list[Run]) -> Way:
    return lambda images: [run(images) for run in runs]


def side_by_side(runs: list[Run]) -> Way:
    workers = ThreadPoolExecutor(threads())
    return lambda images: list(workers.map(lambda run: run(images), runs))


def with_onnxruntime(file: Path, n_threads: int, spins: bool = False) -> Run:
    import onnxruntime

    options = session_options()
    options.intra_op_num_threads = n_threads
    if not spins:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))


def with_torch(file: Path) -> Run:
    import torch

    model = load_model(file, LoadedModel.load(file).info).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(images: np.ndarray) -> Logits:
        batch = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        return {name: logits.numpy() for name, logits in model(batch).items()}

    return run


def with_openvino(file: Path) -> Run:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(file, "CPU", settings)
    names = [output.any_name for output in compiled.outputs]
    return lambda images: dict(zip(names, compiled(images).values(), strict=True))


N = threads()
WAYS: dict[str, Callable[[list[Path]], Way]] = {
    "torch": lambda files: one_after_another([with_torch(file) for file in files]),
    "ONNX Runtime, as shipped": lambda files: side_by_side([with_onnxruntime(f, 1) for f in files]),
    "one core, in turn": lambda files: one_after_another([with_onnxruntime(f, 1) for f in files]),
    f"{N} threads, in turn": lambda files: one_after_another([with_onnxruntime(f, N) for f in files]),
    "these spin": lambda files: one_after_another([with_onnxruntime(f, N, True) for f in files]),
    "OpenVINO": lambda files: one_after_another([with_openvino(file) for file in files]),
}


def measure(ways: dict[str, Way], images: np.ndarray, rounds: int) -> Iterator[tuple[str, np.ndarray]]:
    """By way (rounds, 3): milliseconds, CPU milliseconds meanwhile, CPU milliseconds afterwards."""
    found: dict[str, list] = {name: [] for name in ways}
    for _ in range(3 + rounds):
        for name, run in ways.items():
            started, busy = time.perf_counter(), time.process_time()
            run(images)
            seconds, used = time.perf_counter() - started, time.process_time() - busy
            time.sleep(AFTERWARDS)
            found[name].append([seconds, used, time.process_time() - busy - used])
    yield from ((name, 1000 * np.array(rows[3:])) for name, rows in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models",
        type=Path,
        default=ROOT / "assets" / "models",
        help="the folder of trained models",
    )
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    loaded = Predictor.load(options.models).models
    files = [options.models / f"{model.name}.onnx" for model in loaded]
    size = loaded[0].info.size
    images = np.random.default_rng(0).random((2, 3, size, size), np.float32)
    ready, making = {}, {}
    for name, make in WAYS.items():
        started = time.perf_counter()
        try:
            ready[name] = make(files)
        except ImportError:
            continue
        making[name] = time.perf_counter() - started
    expected = ready["torch"](images)
    print(f"{'':<28}{'ready s':>9}{'ms':>8}{'quartiles':>18}{'CPU ms':>9}{'then':>7}{'differs':>10}")
    for name, times in measure(ready, images, options.rounds):
        low, median, high = np.percentile(times[:, 0], [25, 50, 75])
        used, afterwards = np.median(times[:, 1:], axis=0)
        answers = ready[name](images)
        off = max(
            float(np.abs(answer[task] - logits[task]).max())
            for answer, logits in zip(answers, expected, strict=True)
            for task in logits
        )
        quartiles = f"{low:.1f} to {high:.1f}"
        print(f"{name:<28}{making[name]:>9.2f}{median:>8.1f}{quartiles:>18}{used:>9.1f}{afterwards:>7.1f}{off:>10.1e}")


if __name__ == "__main__":
    main()
