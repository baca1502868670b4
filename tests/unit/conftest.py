"""Fixtures for the tests of the page: a pool of faces, one face, a photo."""

import pytest
from PIL import Image

from facemtl.ui.faces import FaceFilter, FacePool
from tests import support


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> FacePool:
    return FacePool.open(tmp_path_factory.mktemp("no-dataset"), support.COMPOSITES)


@pytest.fixture(scope="module")
def labelled(pool):
    (found,) = pool.draw(1, FaceFilter(3))
    return found


@pytest.fixture
def photo(tmp_path):
    """Two composites in a landscape photo."""
    canvas = Image.new("RGB", (900, 600), (120, 140, 150))
    for file, size, corner in zip(
        support.composites(140)[70:72], (320, 200), ((80, 150), (560, 220)), strict=True
    ):
        with Image.open(file) as face:
            canvas.paste(face.resize((size, size)), corner)
    canvas.save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"
