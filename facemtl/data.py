"""UTKFace: download, file names -> DataFrame, copies, split, decoded images; the same for one's own faces.

The split is a property of an image's bytes, so that byte-identical copies never cross it and
everybody's is the same.
"""

import glob
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from .errors import FaceMTLError
from .own_faces import csv_of, read_csv
from .tasks import AGE, TASKS

HUB_REPOSITORY, HUB_FILE = "py97/UTKFace-Cropped", "UTKFace.tar.gz"

TRAIN, VALIDATION, CALIBRATION = "train", "validation", "calibration"

# [age]_[gender]_[race]_[timestamp].jpg.chip.jpg; a few published names end otherwise, and so may anybody's own.
_FILE_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_.+\.jpg")
_LABELS = [task.column for task in TASKS]


def default_folder() -> Path:
    """Where the faces are expected: `$FACEMTL_DATA`, else `data/UTKFace` below the working directory."""
    return Path(os.environ.get("FACEMTL_DATA") or "data/UTKFace")


def temporary(name: str) -> Path:
    """A path in the system's folder for temporary files, another one for each user."""
    user = hashlib.sha256(str(Path.home()).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"facemtl-{user}-{name}"


# ---------------------------------------------------------------------------------------- download


class ArchiveError(FaceMTLError):
    """An archive is damaged, or not UTKFace's."""


def download(folder: Path, archive: Path | None = None) -> None:
    """Leave UTKFace in `folder`, from `archive` or else from its Hugging Face dataset.

    Does nothing where the folder already holds images. An interrupted transfer resumes; an
    interrupted unpacking leaves nothing behind.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if any(folder.glob("*.jpg")):
            return
        raise FaceMTLError(f"{folder} exists and holds no images. Empty it, or name another folder with --data.")
    with _alone():
        if archive:
            unpack(archive, folder)
            return
        fetched = _fetch_archive()
        try:
            unpack(fetched, folder)
        except ArchiveError:
            fetched.unlink(missing_ok=True)  # damaged on its way: the next run fetches it anew
            raise


@contextmanager
def _alone() -> Iterator[None]:
    """One download of a user at a time: two would write into the same file, and each clear away what the other unpacks."""
    try:
        with FileLock(temporary("download.lock"), timeout=0):
            yield
    except Timeout as error:
        raise FaceMTLError("UTKFace is being downloaded or unpacked by another process. Wait until it is done.") from error


def _fetch_archive() -> Path:
    """The archive in the hub's cache folder, fetched as far as it is missing."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url  # half a second that only this needs
    from huggingface_hub.file_download import http_get  # hf_hub_download forgets what an interrupted process fetched

    print(f"Fetching {HUB_FILE} from the Hugging Face dataset {HUB_REPOSITORY} (resumes where it was interrupted)")
    try:
        url = hf_hub_url(HUB_REPOSITORY, HUB_FILE, repo_type="dataset")
        metadata = get_hf_file_metadata(url)
        archive = Path(constants.HF_HOME) / "facemtl" / f"{metadata.etag}-{HUB_FILE}"
        if not archive.is_file():
            archive.parent.mkdir(parents=True, exist_ok=True)
            partial = archive.with_name(f"{archive.name}.incomplete")
            with partial.open("ab") as file:
                http_get(url, file, resume_size=file.tell(), expected_size=metadata.size, displayed_filename=HUB_FILE)
            partial.replace(archive)
        return archive
    except Exception as error:  # the hub client raises its own, httpx's and the system's errors
        raise FaceMTLError(
            f"UTKFace could not be fetched from the Hugging Face dataset {HUB_REPOSITORY} ({_first_line(error)}). "
            "Run the command again to resume, or fetch UTKFace.tar.gz in another way and pass it with --archive FILE."
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images of a UTKFace .tar.gz into `folder`, all of them or none.

    Only regular files are taken, each under the last part of its name, so nothing can land outside
    the folder; an archive that tries to, one that holds no UTKFace image or is cut off is refused.
    """
    if not archive.is_file():
        raise FaceMTLError(f"There is no file {archive}. --archive takes the path of a UTKFace.tar.gz.")
    with _new_folder(folder) as partial:
        n_images = 0
        try:
            with tarfile.open(archive, "r:gz") as tar, tqdm(tar, desc="Unpacking", unit=" files") as members:
                for member in members:
                    path = Path(member.name)
                    if path.is_absolute() or ".." in path.parts or member.issym() or member.islnk() or member.isdev():
                        raise ArchiveError(
                            f"{archive.name} is not a UTKFace archive: it holds {member.name!r}, "
                            "which is a link or points outside the folder. Nothing was unpacked."
                        )
                    if not member.isfile() or path.suffix != ".jpg" or path.name.startswith("."):
                        continue
                    with tar.extractfile(member) as source, (partial / path.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    n_images += bool(_FILE_NAME.fullmatch(path.name))
                while tar.fileobj.read(1 << 20):
                    pass  # tarfile stops at the last member; gzip compares its checksum at the end
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
                raise FaceMTLError(f"{archive.name} could not be unpacked: {error.strerror}.") from error
            raise ArchiveError(
                f"{archive.name} is not a whole .tar.gz archive ({_first_line(error)}). Fetch it again; nothing was unpacked."
            ) from error
        if n_images == 0:
            raise ArchiveError(
                f"{archive.name} holds no image named like UTKFace's, [age]_[gender]_[race]_[timestamp].jpg.chip.jpg. "
                "Nothing was unpacked."
            )


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `folder` at the end, and vanishes where filling it fails."""
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceMTLError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if folder.exists() and not folder.is_dir():
        raise FaceMTLError(f"{folder} is a file. Name a folder with --data.")
    prefix = f".{folder.name}.partial-"
    for left_over in folder.parent.glob(glob.escape(prefix) + "*"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp lets only the owner in
        if folder.is_dir():
            folder.rmdir()  # only ever an empty one
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# ----------------------------------------------------------------------------------------- reading


@dataclass
class Findings:
    """What reading a folder of images came across. Counts are of files unless said otherwise."""

    images: int = 0
    badly_named: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    copy_groups: int = 0  # groups of byte-identical files
    copy_files: int = 0
    contradictory_groups: int = 0  # groups whose files carry different labels
    contradictory_files: int = 0
    unlabelled: dict[str, int] = field(default_factory=dict)  # images that are used without a label, by its column

    def __str__(self) -> str:
        def named(names: list[str]) -> str:
            return f"{len(names):,}" + (f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else "")

        lacking = " and ".join(f"{n:,} of {name}" for name, n in self.unlabelled.items())
        return "\n".join(
            (
                f"images             {self.images:,} different ones, ready to use",
                f"badly named        {named(self.badly_named)}: left out",
                f"unreadable         {named(self.unreadable)}: left out",
                f"identical copies   {self.copy_files:,} files in {self.copy_groups:,} groups: each kept once",
                f"contradictory      {self.contradictory_files:,} of these files, in {self.contradictory_groups:,} groups, "
                "carry different labels: left out",
                *([f"without a label    {lacking}: used for what they have labels of"] if lacking else []),
            )
        )


def read_folder(folder: Path, *, verify: bool = False, progress: bool = True) -> tuple[pd.DataFrame, Findings]:
    """The images of a folder, in the order of their hashes, and what was found.

    Columns: `file` (path), `sha256` (hex, of the file's bytes), `age` (years), `gender` and `race`
    (label indices), `split`. With `verify`, every image is decoded, which takes about half a minute.

    `folder` may also be one's own faces (see `own_faces`): then a label may be missing, which is NaN.
    """
    files, findings = read_files(folder, verify=verify, progress=progress)
    return without_copies(files, findings), findings


def without_copies(files: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Of `read_files`: the images of `read_folder`; what is left out is counted in `findings`."""
    sizes, contradicts = _copies(files)
    findings.copy_groups, findings.copy_files = len(sizes), int(sizes.sum())
    findings.contradictory_groups, findings.contradictory_files = int(contradicts.sum()), int(sizes[contradicts].sum())

    images = files[~files["sha256"].isin(sizes[contradicts].index)]
    images = images.groupby("sha256", as_index=False).first()[files.columns]  # a copy may have the label that another lacks
    images["split"] = images["sha256"].map(split_of)
    findings.images = len(images)
    findings.unlabelled = {name: n for name, n in images[_LABELS].isna().sum().items() if n}
    return images


def contradicting_copies(folder: Path, *, progress: bool = True) -> pd.DataFrame:
    """The byte-identical files whose names carry different labels, which `read_folder` leaves out; one row per file.

    Columns: `file, sha256, age, gender, race` as in `read_folder`, in the order of the hashes.
    """
    files, _ = read_files(folder, progress=progress)
    _, contradicts = _copies(files)
    chosen = files["sha256"].isin(contradicts[contradicts].index)
    return files[chosen].sort_values("sha256", kind="stable", ignore_index=True)


def read_files(folder: Path, *, verify: bool = False, progress: bool = True) -> tuple[pd.DataFrame, Findings]:
    """Every well-named, readable file, copies too: `file, sha256, age, gender, race`; and what the others were."""
    own = csv_of(folder)
    listed = _named_files(folder) if own is None else read_csv(own)
    findings, rows = Findings(), []
    with ThreadPoolExecutor() as pool:
        contents = pool.map(lambda each: _read(each[0], verify), listed)
        bar = tqdm(contents, "Reading", len(listed), leave=False, disable=not progress)
        for (file, labels), content in zip(listed, bar, strict=True):
            if labels is None:
                findings.badly_named.append(file.name)
            elif content is None:
                findings.unreadable.append(file.name)
            else:
                rows.append({"file": str(file), "sha256": content, **labels})
    return pd.DataFrame(rows, columns=["file", "sha256", *_LABELS]), findings


def _named_files(folder: Path) -> list[tuple[Path, dict[str, int] | None]]:
    """The images of a folder with the labels that their names tell; None where one tells none."""
    files = sorted(folder.glob("*.jpg")) if folder.is_dir() else []
    if not files:
        raise FaceMTLError(
            f"There are no images in {folder}. Run `python -m facemtl download`, "
            "or name another folder, or a CSV file of your own faces, with --data or FACEMTL_DATA."
        )
    matches = [(file, _FILE_NAME.fullmatch(file.name)) for file in files]
    return [
        (file, {name: int(match[name]) for name in _LABELS} if match and int(match["age"]) <= AGE.high else None)
        for file, match in matches
    ]


def _copies(images: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """By hash, of those that several files share: how many files, and whether they carry different labels.

    A missing label contradicts none.
    """
    copies = images[images.duplicated("sha256", keep=False)].groupby("sha256")[_LABELS]
    return copies.size(), copies.nunique().gt(1).any(axis=1)


def _read(file: Path, verify: bool) -> str | None:
    """The hash of a file's bytes, or None where it cannot be read as an image."""
    try:
        if verify:
            with Image.open(file) as image:
                image.load()
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except Exception:  # damaged files raise nearly anything
        return None


def split_of(sha256: str) -> str:
    """Which side an image is on. Calibration images serve temperatures and intervals, never reported numbers."""
    number = int(sha256, 16)
    if number % 5:
        return TRAIN
    return VALIDATION if number % 15 else CALIBRATION


# ------------------------------------------------------------------------------------------ images


def decode_images(files: Iterable[str], size: int, cache: Path | None = None) -> np.ndarray:
    """Decode and resize each image once: uint8 (N, size, size, 3).

    With `cache`, a folder, the array is kept there as a memory-mapped file that processes share; it
    is named after the files, their sizes and times, so other files or another size of images make another one.
    """
    files = list(files)
    if cache is not None:
        key = hashlib.sha256("\n".join(map(_fingerprint, files)).encode()).hexdigest()[:16]
        kept = cache / f"{key}-{size}px.npy"
        if kept.is_file():
            return np.load(kept, mmap_mode="c")  # copy on write: torch takes only writable arrays
    with ThreadPoolExecutor() as pool:
        images = np.empty((len(files), size, size, 3), np.uint8)
        decoded = pool.map(lambda f: load_image(f, size), files)
        for i, image in enumerate(tqdm(decoded, "Decoding", len(files), leave=False)):
            images[i] = image
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.name}.partial-{os.getpid()}.npy")
        try:
            np.save(partial, images)
            partial.replace(kept)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    return images


def _fingerprint(file: str | Path) -> str:
    try:
        stat = Path(file).stat()
    except OSError as error:
        raise FaceMTLError(
            f"{file} cannot be read ({error.strerror}). It may have been moved; read the folder again."
        ) from error
    return f"{Path(file).name} {stat.st_size} {stat.st_mtime_ns}"


def load_image(file: str | Path, size: int) -> np.ndarray:
    """One image as uint8 (size, size, 3); of a rectangle, its centre square."""
    try:
        with Image.open(file) as image:
            image = as_rgb(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise FaceMTLError(f"{file} is damaged ({_first_line(error)}). Replace or delete it.") from error
    if image.size != (size, size):
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        image = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    return np.asarray(image)


def as_rgb(image: Image.Image) -> Image.Image:
    """Upright and in three channels; what is transparent becomes white."""
    image.load()  # metadata may also follow the pixels
    with suppress(Exception):  # damaged metadata, which Pillow rewrites as a whole: then the image stays as it lies
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else it would be copied
            image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode.startswith(("I", "F")):  # 16 bits and more: convert() would clip to white
        values = np.asarray(image, np.float32)
        low, high = float(values.min()), float(values.max())
        image = Image.fromarray(np.uint8((values - low) / max(high - low, 1e-9) * 255))
    return image if image.mode == "RGB" else image.convert("RGB")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
