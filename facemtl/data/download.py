"""Download and unpacking of UTKFace."""

import glob
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..errors import FaceMTLError, first_line
from ..files import temporary
from .utkface import FILE_NAME

HUB_REPOSITORY, HUB_FILE = "py97/UTKFace-Cropped", "UTKFace.tar.gz"


class ArchiveError(FaceMTLError):
    """Raised if an archive is damaged or is not UTKFace's."""


def download(folder: Path, archive: Path | None = None) -> None:
    """Unpack UTKFace into `folder`, from `archive` or else from its Hugging Face dataset.

    Does nothing if the folder already has images. An interrupted download is resumed by the next
    call. An interrupted unpacking leaves no images in `folder`. Raises FaceMTLError if the folder
    has other files but no images, or if the download or the unpacking fails.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if any(folder.glob("*.jpg")):
            return
        raise FaceMTLError(
            f"{folder} exists and holds no images. Empty it, or name another folder with --data."
        )
    with _alone():
        if archive:
            unpack(archive, folder)
            return
        fetched = _fetch_archive()
        try:
            unpack(fetched, folder)
        except ArchiveError:
            fetched.unlink(missing_ok=True)  # the next run downloads it again
            raise


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


def _fetch_archive() -> Path:
    """The path of the archive in Hugging Face's cache folder. What is missing is downloaded."""
    # This import takes half a second, and only this function needs it.
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    # hf_hub_download would lose what an interrupted process has downloaded.
    from huggingface_hub.file_download import http_get

    print(
        f"Fetching {HUB_FILE} from the Hugging Face dataset {HUB_REPOSITORY} (resumes where it was"
        " interrupted)"
    )
    try:
        url = hf_hub_url(HUB_REPOSITORY, HUB_FILE, repo_type="dataset")
        metadata = get_hf_file_metadata(url)
        archive = Path(constants.HF_HOME) / "facemtl" / f"{metadata.etag}-{HUB_FILE}"
        if not archive.is_file():
            archive.parent.mkdir(parents=True, exist_ok=True)
            partial = archive.with_name(f"{archive.name}.incomplete")
            with partial.open("ab") as file:
                http_get(
                    url,
                    file,
                    resume_size=file.tell(),
                    expected_size=metadata.size,
                    displayed_filename=HUB_FILE,
                )
            partial.replace(archive)
        return archive
    except Exception as error:  # of the hub client, of httpx or of the system
        raise FaceMTLError(
            f"UTKFace could not be fetched from the Hugging Face dataset {HUB_REPOSITORY}"
            f" ({first_line(error)}). Run the command again to resume, or fetch UTKFace.tar.gz in"
            " another way and pass it with --archive FILE."
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images of a UTKFace .tar.gz into `folder`: all of them or none.

    Only regular files named *.jpg are unpacked. Each keeps only the last part of its path, so
    nothing is written outside the folder. Raises ArchiveError if the archive is damaged or cut off,
    has no image named like UTKFace's, or has links, devices or paths that lead out of the folder.
    """
    if not archive.is_file():
        raise FaceMTLError(
            f"There is no file {archive}. --archive takes the path of a UTKFace.tar.gz."
        )
    with _new_folder(folder) as partial:
        n_images = 0
        try:
            with (
                tarfile.open(archive, "r:gz") as tar,
                tqdm(tar, desc="Unpacking", unit=" files") as members,
            ):
                for member in members:
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
                    f"{archive.name} could not be unpacked: {error.strerror}."
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
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceMTLError(f"The folder {folder} cannot be made: {error.strerror}.") from error
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
