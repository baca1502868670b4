"""Fetch and unpack UTKFace."""

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
    """An archive is damaged, or not UTKFace's."""


def download(folder: Path, archive: Path | None = None) -> None:
    """Leave UTKFace in `folder`, from `archive` or else from its Hugging Face dataset.

    Does nothing where the folder already holds images. An interrupted transfer resumes; an
    interrupted unpacking leaves nothing behind.
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
            fetched.unlink(missing_ok=True)  # damaged on its way: the next run fetches it anew
            raise


@contextmanager
def _alone() -> Iterator[None]:
    """One download of a user at a time: two would write into the same file, and each clear away
    what the other unpacks.
    """
    try:
        with FileLock(temporary("download.lock"), timeout=0):
            yield
    except Timeout as error:
        raise FaceMTLError(
            "UTKFace is being downloaded or unpacked by another process. Wait until it is done."
        ) from error


def _fetch_archive() -> Path:
    """The archive in the hub's cache folder, fetched as far as it is missing."""
    from huggingface_hub import (  # half a second that only this needs
        constants,
        get_hf_file_metadata,
        hf_hub_url,
    )
    from huggingface_hub.file_download import (
        http_get,  # hf_hub_download forgets what an interrupted process fetched
    )

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
    except Exception as error:  # the hub client raises its own, httpx's and the system's errors
        raise FaceMTLError(
            f"UTKFace could not be fetched from the Hugging Face dataset {HUB_REPOSITORY}"
            f" ({first_line(error)}). Run the command again to resume, or fetch UTKFace.tar.gz in"
            " another way and pass it with --archive FILE."
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the images of a UTKFace .tar.gz into `folder`, all of them or none.

    Only regular files are taken, each under the last part of its name, so nothing can land outside
    the folder; an archive that tries to, one that holds no UTKFace image or is cut off is refused.
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
                while tar.fileobj.read(1 << 20):
                    pass  # tarfile stops at the last member; gzip compares its checksum at the end
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
