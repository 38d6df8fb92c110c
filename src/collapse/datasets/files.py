"""Finding, verifying and unpacking the files of a dataset; nothing unverified is ever handed on."""

import gzip
import hashlib
import http.client
import logging
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
from collapse.files.errors import cannot_write, is_unwritable

log = logging.getLogger(__name__)
DOWNLOAD_TIMEOUT_SECONDS = 60
Files = tuple[DataFile, ...]

# What reading a damaged archive raises.
_BROKEN_ARCHIVE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


def verified_files(dataset: Dataset, *, root: Path, cache: Path) -> dict[str, Path]:
    """All files of the dataset by their names, unpacked, their MD5s checked just now.

    Each is looked for in this order: unpacked under `root`, unpacked under `cache`, packed under `root`
    (unpacked into `cache`, since root may be read-only); what is nowhere is downloaded into `cache`.
    Raises DatasetError when a file is truncated or altered, or is nowhere and cannot be downloaded.
    """
    found = unpacked_files(dataset, root=root, cache=cache)
    for file in dataset.files:
        if file.name in found:
            check_md5(found[file.name], file.md5, remedy=_remedy(dataset))
    missing = tuple(file for file in dataset.files if file.name not in found)
    if missing:
        folder = _fill_cache(dataset, missing, root=root, cache=cache)
        found |= {file.name: folder / file.name for file in missing}
    return found


def unpacked_files(dataset: Dataset, *, root: Path, cache: Path) -> dict[str, Path]:
    """Those of the dataset's files that lie unpacked, by their names: under `root` or else under `cache`."""
    folders = [base / dataset.folder for base in (cache, root)]
    places = [(file.name, folder / file.name) for folder in folders for file in dataset.files]
    return {name: path for name, path in places if path.is_file()}


def missing_files(dataset: Dataset, *, root: Path, cache: Path) -> Files:
    """The files that lie nowhere, unpacked or packed: those that would have to be downloaded."""
    found = unpacked_files(dataset, root=root, cache=cache)
    left = tuple(file for file in dataset.files if file.name not in found)
    if dataset.source == "idx":
        return tuple(file for file in left if packed_file(dataset, file, root=root) is None)
    return left if archive_of(dataset, root=root) is None else ()


def packed_file(dataset: Dataset, file: DataFile, *, root: Path) -> Path | None:
    """Where one file lies as .gz."""
    places = [root / folder / f"{file.name}.gz" for folder in (dataset.folder, dataset.plain_folder)]
    return next((path for path in places if path.is_file()), None)


def archive_of(dataset: Dataset, *, root: Path) -> Path | None:
    """Where the one archive lies that has all files."""
    folders = (root, root / dataset.plain_folder)
    places = [folder / name for folder in folders for name in dataset.archives]
    return next((path for path in places if path.is_file()), None)


def check_md5(path: Path, expected: str, *, remedy: str, shown_as: str = "") -> None:
    """Raises DatasetError naming the file, both checksums and the remedy when the MD5 differs."""
    found = _md5(path)
    if found != expected:
        raise DatasetError(
            f"{shown_as or path} is truncated or altered: MD5 expected {expected}, found {found}; {remedy}"
        )


def _fill_cache(dataset: Dataset, missing: Files, *, root: Path, cache: Path) -> Path:
    """Unpacks or downloads beside the final place and moves: no half-written file is left there."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{dataset.name}-", dir=cache) as workspace:
            fetched = Path(workspace) / dataset.folder
            fetched.mkdir(parents=True)
            unpack = _unpack_gz if dataset.source == "idx" else _unpack_tar
            if left := unpack(dataset, missing, root=root, into=fetched):
                _download(dataset, left, root=root, into=Path(workspace))
                for file in left:
                    shown_as = f"the downloaded {file.name} of {dataset.name}"
                    check_md5(fetched / file.name, file.md5, remedy=_remedy(dataset), shown_as=shown_as)
            folder = cache / dataset.folder
            folder.mkdir(parents=True, exist_ok=True)
            for file in missing:
                (fetched / file.name).replace(folder / file.name)
    except OSError as error:
        if is_unwritable(error):
            raise DatasetError(cannot_write(cache, error)) from None
        raise
    return folder


def _unpack_gz(dataset: Dataset, missing: Files, *, root: Path, into: Path) -> Files:
    """Unpacks those that lie under the root as .gz; returns the others."""
    left = []
    for file in missing:
        archive = packed_file(dataset, file, root=root)
        if archive is None:
            left.append(file)
            continue
        if file.gz_md5:
            check_md5(archive, file.gz_md5, remedy=_remedy(dataset))
        try:
            with gzip.open(archive) as packed, (into / file.name).open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        except _BROKEN_ARCHIVE as error:
            if is_unwritable(error):
                raise
            words = f"{archive} is truncated or altered ({_one_line(error)}); {_remedy(dataset)}"
            raise DatasetError(words) from None
        check_md5(into / file.name, file.md5, remedy=_remedy(dataset), shown_as=str(archive))
    return tuple(left)


def _unpack_tar(dataset: Dataset, missing: Files, *, root: Path, into: Path) -> Files:
    """Unpacks the archive, where there is one, or returns the missing files.

    Only the members are checked, as torchvision does: a repacked archive is as good.
    """
    archive = archive_of(dataset, root=root)
    if archive is None:
        return missing
    by_member = {f"{dataset.folder}/{file.name}": file for file in missing}
    try:
        # One pass, in the archive's order: seeking back would decompress it again.
        with tarfile.open(archive, "r|*") as packed:
            for member in packed:
                file = by_member.get(member.name.removeprefix("./"))
                if file is not None and member.isfile():
                    with (into / file.name).open("wb") as unpacked:
                        shutil.copyfileobj(packed.extractfile(member), unpacked)
    except _BROKEN_ARCHIVE as error:
        if is_unwritable(error):
            raise
        raise DatasetError(
            f"{archive} cannot be unpacked ({_one_line(error)}), it is truncated or altered: MD5 "
            f"{_expected_md5s(missing)}, found {_md5(archive)} for the archive; "
            f"{_remedy(dataset)}"
        ) from error
    for file in missing:
        if not (into / file.name).is_file():
            raise DatasetError(
                f"{archive} is truncated or altered: it has no {file.name} (MD5 {file.md5}); "
                f"{_remedy(dataset)}"
            )
        shown_as = f"{archive} (member {file.name})"
        check_md5(into / file.name, file.md5, remedy=_remedy(dataset), shown_as=shown_as)
    return ()


def _download(dataset: Dataset, missing: Files, *, root: Path, into: Path) -> None:
    """Fetches the missing files; of a dataset that comes as one archive, all."""
    names = [file.name for file in missing]
    log.info("%s: %s not found under %s, downloading", dataset.name, ", ".join(names), root)
    try:
        # torchvision takes a second to import, and only this needs it here.
        from collapse.datasets.torchvision_import import torchvision

        source = getattr(torchvision.datasets, dataset.name, None)
        if source is None:
            raise RuntimeError("torchvision knows no dataset of that name")
        with _socket_timeout(DOWNLOAD_TIMEOUT_SECONDS):
            if dataset.source == "idx":
                part = source.__new__(source)  # its constructor would read what was not missing
                part.root = str(into)
                part.resources = [one for one in source.resources if one[0].removesuffix(".gz") in names]
                part.download()
            else:
                source(str(into), download=True)
    except (RuntimeError, OSError, http.client.HTTPException, ModuleNotFoundError) as error:
        if is_unwritable(error):
            raise
        lacking = (
            "has none of its files" if len(missing) == len(dataset.files) else f"lacks {', '.join(names)}"
        )
        raise DatasetError(
            f"{dataset.name} is not complete under {root}, which {lacking}, and cannot be downloaded "
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


def _expected_md5s(files: Files) -> str:
    return "expected " + ", ".join(f"{file.md5} for {file.name}" for file in files)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
