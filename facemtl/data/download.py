"""Download and unpacking of UTKFace."""

import glob
import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..errors import FaceMTLError, first_line
from ..files import temporary
from ..regular import open_file
from .labels_csv import csv_of
from .utkface import FILE_NAME

HUB_REPOSITORY, HUB_FILE = "py97/UTKFace-Cropped", "UTKFace.tar.gz"
HUB_MB = 100  # size of the file, rounded
DOWNLOADING, UNPACKING = "Downloading", "Unpacking"
PATIENCE = 10  # seconds without a byte until a connection counts as broken
RETRIES = 5  # of connections that brought less than ENOUGH
ENOUGH = 2**16  # bytes
_ANOTHER = "The server sent something else"

# It is called often, with a step, the number of bytes that are done, and the number of all bytes.
# It may raise an exception, which stops the work.
Report = Callable[[str, int, int], None]


class ArchiveError(FaceMTLError):
    """Raised if an archive is damaged or is not UTKFace's."""


def is_missing(data: Path) -> bool:
    """Whether UTKFace can be unpacked into `data`: a folder that is empty or does not exist."""
    try:
        return csv_of(data) is None and not (data.exists() and any(data.iterdir()))
    except OSError:  # a file, or a folder that cannot be read
        return False


def n_kept() -> int:
    """How many bytes an interrupted download has left for the next one."""
    kept = (Path(name) for name in glob.glob(f"{glob.escape(str(_cache()))}/*-{HUB_FILE}*"))
    return sum(file.stat().st_size for file in kept if file.is_file())


def download(folder: Path, archive: Path | None = None, report: Report | None = None) -> None:
    """Unpack UTKFace into `folder`, from `archive` or else from its Hugging Face dataset.

    Does nothing if the folder already has images. An interrupted download is resumed by the next
    call. An interrupted unpacking leaves no images in `folder`. Without `report`, progress bars are
    printed. Raises FaceMTLError if the folder has other files but no images, or if the download or
    the unpacking fails.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if any(folder.glob("*.jpg")):
            return
        raise FaceMTLError(
            f"{folder} has other files but no images. Empty it, or name another folder with --data."
        )
    _require_writable(folder)
    with _alone(), _shown(report) as report:
        if archive:
            unpack(archive, folder, report)
            return
        fetched = _fetch_archive(report)
        try:
            unpack(fetched, folder, report)
        except ArchiveError:
            fetched.unlink(missing_ok=True)  # the next run downloads it again
            raise


def _require_writable(folder: Path) -> None:
    """Raise FaceMTLError if `folder` cannot be made. Call this before a long download."""
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise FaceMTLError(
            f"The folder {folder} cannot be made, because nothing can be written to {there}. Make"
            " that possible, or name another folder with --data."
        )


@contextmanager
def _shown(report: Report | None) -> Iterator[Report]:
    """The given `report`, or one that prints a progress bar for each step."""
    bars: dict[str, tqdm] = {}

    def bar(step: str, done: int, total: int) -> None:
        if step not in bars:
            bars[step] = tqdm(desc=step, initial=done, total=total, unit="B", unit_scale=True)
        bars[step].update(done - bars[step].n)

    try:
        yield report or bar
    finally:
        for each in bars.values():
            each.close()


@contextmanager
def _alone() -> Iterator[None]:
    """A lock that allows each user one download at a time.

    Two downloads would write to the same file, and each would delete what the other unpacks. Raises
    FaceMTLError if another process holds the lock.
    """
    try:
        with FileLock(temporary("download.lock"), timeout=0):
            yield
    except Timeout as error:
        raise FaceMTLError(
            "UTKFace is being downloaded or unpacked by another process. Wait until it is done."
        ) from error


def _cache() -> Path:
    """The folder for the archive, whole or in part."""
    from huggingface_hub import constants  # slow, and only a download needs it

    # A user who has no home folder would get one named "~" here.
    home = constants.HF_HOME
    return (temporary("cache") if home.startswith("~") else Path(home)) / "facemtl"


def _fetch_archive(report: Report) -> Path:
    """The path of the archive in Hugging Face's cache folder. What is missing is downloaded."""
    # These imports take half a second, and only this function needs them.
    import httpx
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    print(
        f"Fetching {HUB_FILE} from the Hugging Face dataset {HUB_REPOSITORY} (resumes where it was"
        " interrupted)"
    )
    try:
        url = hf_hub_url(HUB_REPOSITORY, HUB_FILE, repo_type="dataset")
        metadata = get_hf_file_metadata(url)
        if not (metadata.etag and metadata.size):
            raise ValueError("The server does not tell the version and the size of the file")
    except Exception as error:  # of the hub client, or of the client that it uses
        raise _not_fetched(error) from error
    version = sha256(metadata.etag.encode()).hexdigest()[:16]  # the tag may be any text
    archive = _cache() / f"{version}-{HUB_FILE}"
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        for other in archive.parent.glob(f"*-{HUB_FILE}*"):
            if not other.name.startswith(archive.name):  # of an older dataset
                other.unlink()
        if not archive.is_file():
            partial = archive.with_name(f"{archive.name}.incomplete")
            _fetch(url, metadata.size, partial, report)
            partial.replace(archive)
    except httpx.HTTPError as error:
        raise _not_fetched(error) from error
    except OSError as error:
        raise FaceMTLError(
            f"{HUB_FILE} could not be saved in {archive.parent}: {error.strerror}. Put that right,"
            " then try again: the download goes on where it stopped."
        ) from error
    return archive


def _not_fetched(error: Exception) -> FaceMTLError:
    return FaceMTLError(
        f"UTKFace could not be fetched from the Hugging Face dataset {HUB_REPOSITORY}"
        f" ({first_line(error)}). Check the network, then try again: the download goes on where it"
        f" stopped. Or fetch {HUB_FILE} in another way, and unpack it with `python -m facemtl"
        " download --archive FILE`."
    )


def _fetch(url: str, size: int, partial: Path, report: Report) -> None:
    """Download what is missing of a file of `size` bytes.

    What has arrived stays in `partial`, even if the process is killed. huggingface_hub's own
    function writes pieces of 10 MB, so as much would be lost, and progress would jump.
    """
    import httpx

    failures = 0
    if not partial.is_file():  # opening a pipe would wait for a reader
        partial.unlink(missing_ok=True)
    with partial.open("ab") as file:
        while (before := file.tell()) < size:
            report(DOWNLOADING, before, size)
            headers = {"Accept-Encoding": "identity"}
            if before:
                headers["Range"] = f"bytes={before}-"
            options = {"headers": headers, "follow_redirects": True, "timeout": PATIENCE}
            try:
                with httpx.stream("GET", url, **options) as response:
                    response.raise_for_status()
                    is_rest = response.status_code == HTTPStatus.PARTIAL_CONTENT
                    if is_rest:
                        expected = f"bytes {before}-{size - 1}/{size}"
                        is_right = response.headers.get("Content-Range") == expected
                    else:
                        # Some proxies leave out the length.
                        is_right = response.headers.get("Content-Length", str(size)) == str(size)
                    if is_right and not is_rest:  # it starts again
                        file.truncate(file.seek(0))
                    if not is_right:
                        if is_rest:  # of another file: what is here is of no use
                            file.truncate(file.seek(0))
                        # Else it is, for example, the page of a network that wants a login.
                        raise httpx.RemoteProtocolError(_ANOTHER)
                    for piece in response.iter_raw():
                        file.write(piece)
                        report(DOWNLOADING, file.tell(), size)
                if file.tell() != size:
                    file.truncate(file.seek(0))
                    raise httpx.RemoteProtocolError(_ANOTHER)
            except httpx.TransportError:
                failures = failures + 1 if file.tell() < before + ENOUGH else 0
                if failures > RETRIES:
                    raise
                time.sleep(1)


def unpack(archive: Path, folder: Path, report: Report | None = None) -> None:
    """Unpack the images of a UTKFace .tar.gz into `folder`: all of them or none.

    Only regular files named *.jpg are unpacked. Each keeps only the last part of its path, so
    nothing is written outside the folder. Raises ArchiveError if the archive is damaged or cut off,
    has no image named like UTKFace's or two of one name, or has links, devices or paths that lead
    out of the folder.
    Without `report`, a progress bar is printed.
    """
    try:
        open_file(archive).close()
    except OSError as error:
        raise FaceMTLError(
            f"{archive} cannot be read: {first_line(error)}. Give --archive the path of a"
            " UTKFace.tar.gz."
        ) from error
    with _new_folder(folder) as partial:
        n_images = 0
        try:
            with (
                open_file(archive) as file,
                tarfile.open(fileobj=file, mode="r:gz") as tar,
                _shown(report) as report,
            ):
                size = archive.stat().st_size
                for member in tar:
                    report(UNPACKING, file.tell(), size)
                    path = Path(member.name)
                    if (
                        path.is_absolute()
                        or ".." in path.parts
                        or member.issym()
                        or member.islnk()
                        or member.isdev()
                    ):
                        raise ArchiveError(
                            f"{archive.name} is not a UTKFace archive: it holds {member.name!r}, "
                            "which is a link or points outside the folder. Nothing was unpacked."
                        )
                    if not member.isfile() or path.suffix != ".jpg" or path.name.startswith("."):
                        continue
                    if (partial / path.name).exists():
                        raise ArchiveError(
                            f"{archive.name} holds two images named {path.name!r}. Pack it again"
                            " with a different name for each image. Nothing was unpacked."
                        )
                    with (
                        tar.extractfile(member) as source,
                        (partial / path.name).open("wb") as target,
                    ):
                        shutil.copyfileobj(source, target)
                    n_images += bool(FILE_NAME.fullmatch(path.name))
                # Read to the end, where gzip checks its checksum: tarfile stops at the last member.
                while tar.fileobj.read(1 << 20):
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
                raise FaceMTLError(
                    f"{archive.name} could not be unpacked into {folder}: {error.strerror}. Put"
                    " that right, then try again."
                ) from error
            raise ArchiveError(
                f"{archive.name} is not a whole .tar.gz archive ({first_line(error)}). Fetch it"
                " again; nothing was unpacked."
            ) from error
        if n_images == 0:
            raise ArchiveError(
                f"{archive.name} holds no image named like UTKFace's,"
                " [age]_[gender]_[race]_[timestamp].jpg.chip.jpg. Nothing was unpacked."
            )


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that is renamed to `folder` at the end, or deleted after an error."""
    folder = folder.absolute()
    _require_writable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        raise FaceMTLError(f"{folder} is a file. Name a folder with --data.")
    prefix = f".{folder.name}.partial-"
    for left_over in folder.parent.glob(glob.escape(prefix) + "*"):  # of killed processes
        shutil.rmtree(left_over, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp gives access to the owner only
        if folder.is_dir():
            folder.rmdir()  # fails if it is not empty
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
