"""What several tests of a guest's stub begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from tests.stub_model import StubModel


@pytest.fixture
def stub(model: StubModel) -> Iterator[Stub]:
    """A connection to the test's model of a stub."""
    stub = Stub(Address.parse(str(model.path)))
    yield stub
    stub.close()
