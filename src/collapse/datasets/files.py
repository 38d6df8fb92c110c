"""Finding, verifying and unpacking the files of a dataset; nothing unverified is ever handed on."""

import gzip
import hashlib
import http.client
import lzma
import shutil
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collapse.datasets.registry import DataFile, Dataset, DatasetError

DOWNLOAD_TIMEOUT_SECONDS = 60

# What reading a damaged archive raises.
_BROKEN_ARCHIVE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


def verified_folder(dataset: Dataset, *, root: Path, cache: Path) -> Path:
    """A folder with all files of the dataset, unpacked, their MD5s checked just now.

    Looked for in this order: unpacked under `root`, unpacked under `cache`, archives under `root`
    (unpacked into `cache`, since root may be read-only), torchvision's download into `cache`.
    Raises DatasetError when a file is truncated or altered, or when there is none and no download.
    """
    for base in (root, cache):
        folder = base / dataset.folder
        if all((folder / file.name).is_file() for file in dataset.files):
            for file in dataset.files:
                check_md5(folder / file.name, file.md5, remedy=_remedy(dataset))
            return folder
    return _fill_cache(dataset, root=root, cache=cache)


def check_md5(path: Path, expected: str, *, remedy: str, shown_as: str = "") -> None:
    """Raises DatasetError naming the file, both checksums and the remedy when the MD5 differs."""
    found = _md5(path)
    if found != expected:
        raise DatasetError(
            f"{shown_as or path} is truncated or altered: MD5 expected {expected}, found {found}; {remedy}"
        )


def _fill_cache(dataset: Dataset, *, root: Path, cache: Path) -> Path:
    """Unpacks or downloads beside the final place and moves: no half-written file is left there."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{dataset.name}-", dir=cache) as workspace:
        fetched = Path(workspace) / dataset.folder
        fetched.mkdir(parents=True)
        if archives := _find_archives(dataset, root):
            unpack = _unpack_gz if dataset.source == "idx" else _unpack_tar
            unpack(dataset, archives, into=fetched)
        else:
            _download(dataset, root=root, into=Path(workspace))
            for file in dataset.files:
                check_md5(
                    fetched / file.name,
                    file.md5,
                    remedy=_remedy(dataset),
                    shown_as=f"the downloaded {file.name} of {dataset.name}",
                )
        folder = cache / dataset.folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in dataset.files:
            (fetched / file.name).replace(folder / file.name)
    return folder


def _find_archives(dataset: Dataset, root: Path) -> list[Path]:
    """The four .gz files of an idx dataset, or the one tar of CIFAR10; empty when not there."""
    if dataset.source == "idx":
        for folder in (root / dataset.folder, root / dataset.plain_folder):
            paths = [folder / f"{file.name}.gz" for file in dataset.files]
            if all(path.is_file() for path in paths):
                return paths
        return []
    for folder in (root, root / dataset.plain_folder):
        for name in dataset.archives:
            if (folder / name).is_file():
                return [folder / name]
    return []


def _unpack_gz(dataset: Dataset, archives: list[Path], *, into: Path) -> None:
    for file, archive in zip(dataset.files, archives, strict=True):
        check_md5(archive, file.gz_md5, remedy=_remedy(dataset))
        with gzip.open(archive) as packed, (into / file.name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        check_md5(into / file.name, file.md5, remedy=_remedy(dataset), shown_as=str(archive))


def _unpack_tar(dataset: Dataset, archives: list[Path], *, into: Path) -> None:
    """Only the members are checked, as torchvision does: a repacked archive is as good."""
    (archive,) = archives
    by_member = {f"{dataset.folder}/{file.name}": file for file in dataset.files}
    try:
        # One pass, in the archive's order: seeking back would decompress it again.
        with tarfile.open(archive, "r|*") as packed:
            for member in packed:
                file = by_member.get(member.name.removeprefix("./"))
                if file is not None and member.isfile():
                    with (into / file.name).open("wb") as unpacked:
                        shutil.copyfileobj(packed.extractfile(member), unpacked)
    except _BROKEN_ARCHIVE as error:
        raise DatasetError(
            f"{archive} cannot be unpacked ({_one_line(error)}), it is truncated or altered: MD5 "
            f"{_expected_md5s(dataset.files)}, found {_md5(archive)} for the archive; "
            f"{_remedy(dataset)}"
        ) from error
    for file in dataset.files:
        if not (into / file.name).is_file():
            raise DatasetError(
                f"{archive} is truncated or altered: it has no {file.name} (MD5 {file.md5}); "
                f"{_remedy(dataset)}"
            )
        check_md5(
            into / file.name,
            file.md5,
            remedy=_remedy(dataset),
            shown_as=f"{archive} (member {file.name})",
        )


def _download(dataset: Dataset, *, root: Path, into: Path) -> None:
    try:
        # torchvision takes a second to import, and only this needs it here.
        from collapse.datasets.torchvision_import import torchvision

        with _socket_timeout(DOWNLOAD_TIMEOUT_SECONDS):
            getattr(torchvision.datasets, dataset.name)(str(into), download=True)
    except (RuntimeError, OSError, http.client.HTTPException, ModuleNotFoundError) as error:
        raise DatasetError(
            f"{dataset.name} is not complete under {root} and cannot be downloaded "
            f"({_one_line(error)}); "
            f"set COLLAPSE_DATA (or data_root in params.yaml) to a folder that has "
            f"{dataset.layout}"
        ) from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torchvision downloads without a timeout: a server that never answers would hang the job."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _remedy(dataset: Dataset) -> str:
    return (
        "delete it and run again to fetch it, or put a good copy under the data root "
        f"(COLLAPSE_DATA) as {dataset.layout}"
    )


def _expected_md5s(files: tuple[DataFile, ...]) -> str:
    return "expected " + ", ".join(f"{file.md5} for {file.name}" for file in files)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
