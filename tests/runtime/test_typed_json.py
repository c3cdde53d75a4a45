"""The one reader of JSON and TOML: what it takes, and how it names what it does not."""

import json
import os
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.files.reading import FileKind
from bilayer.runtime.typed_json import FileFormat, read_content, typed


@dataclass(frozen=True)
class Wheel:
    """Of a car."""

    size: float
    rim: Literal["steel", "alloy"] = "steel"


@dataclass(frozen=True)
class Car:
    """To be read."""

    seats: Annotated[int, Meta(ge=1, description="people")]
    wheels: list[Wheel]
    prices: dict[str, float | None]
    name: str | None = None
    colours: tuple[Literal["red", "blue"], ...] = ()
    range: tuple[float, float] = (0.0, 1.0)
    spare: Wheel = field(default_factory=lambda: Wheel(1.0))

    def __post_init__(self) -> None:
        if self.name == "Trabant":
            raise InputError("name: expected another car")


CARS = FileFormat(Car, "car", 3, "a car", "build it again", BundleError, FileKind.SETTINGS)
GOOD = {"seats": 2, "wheels": [{"size": 15}, {"size": 16.5, "rim": "alloy"}], "prices": {"DE": 3, "FR": None}}


def test_what_fits_is_read_as_its_type():
    car = typed(Car, GOOD | {"range": [1, 2], "colours": ["red"]}, "f")
    assert car == Car(2, [Wheel(15.0), Wheel(16.5, "alloy")], {"DE": 3.0, "FR": None}, None, ("red",), (1.0, 2.0))
    assert type(car.wheels[0].size) is float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seats": "2"}, "seats: expected int, found '2'"),
        ({"seats": 2.0}, "seats: expected int, found 2.0"),
        ({"seats": True}, "seats: expected int, found True"),
        ({"seats": 0}, "seats: expected int >= 1, found 0"),
        ({"seats": 1 << 63}, "seats: expected a number of at most 64 bits, found 9223372036854775808"),
        ({"wheels": {}}, "wheels: expected array, found {}"),
        ({"wheels": [{"size": 1}, {}]}, "wheels[1].size: missing"),
        ({"wheels": [{"size": 1}, 3]}, "wheels[1]: expected object, found 3"),
        ({"wheels": [{"size": 1, "rym": "steel"}]}, "wheels[0].rym: unknown; perhaps rim is meant"),
        ({"wheels": [{"size": 1, "rim": "gold"}]}, "wheels[0].rim: expected alloy or steel, found 'gold'"),
        ({"wheels": [{"size": float("nan")}]}, "wheels[0].size: expected a finite number, found nan"),
        ({"wheels": [{"size": 10**400}]}, "wheels[0].size: expected a finite number, found 1" + 59 * "0"),
        ({"prices": {"DE": 1, "F\n": "x"}}, "prices.'F\\n': expected float | null, found 'x'"),
        ({"prices": {"DE": float("inf")}}, "prices.DE: expected a finite number, found inf"),
        ({"spare": {"size": 1, "rim": "wood"}}, "spare.rim: expected alloy or steel, found 'wood'"),
        ({"colours": ["blue", "x"]}, "colours[1]: expected blue or red, found 'x'"),
        ({"range": [1]}, "range: expected array of length 2, found [1]"),
        ({"x": 1}, "x: unknown; expected seats, wheels, prices, name, colours, range, spare"),
        ({"name": "Trabant"}, "name: expected another car"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_field(change, message):
    with pytest.raises(BundleError) as error:
        typed(Car, GOOD | change, "f.json", "build it again", BundleError)
    assert str(error.value) == f"f.json: {message}; build it again"


def test_a_file_of_a_format_has_every_field(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(CARS.to_json(typed(Car, GOOD, "f")))
    assert CARS.read(path) == typed(Car, GOOD, "f")
    whole = json.loads(path.read_text())
    for content, message in [
        ([], "not a car; expected `format` to be car"),
        (whole | {"format": "ship"}, "not a car; expected `format` to be car"),
        (whole | {"version": "4"}, "version '4', expected 3"),
        ({name: value for name, value in whole.items() if name != "range"}, "range: missing"),
        (whole | {"spare": {"size": 1}}, "spare.rim: missing"),
    ]:
        path.write_text(json.dumps(content))
        with pytest.raises(BundleError) as error:
            CARS.read(path)
        assert str(error.value) == f"{path}: {message}; build it again"
    path.write_text(" " * (FileKind.SETTINGS.most + 1))
    with pytest.raises(BundleError, match="expected at most 1048576 bytes for a file of settings, found 1048577"):
        CARS.read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"[1,]", b'"\x00"'])
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: not readable as JSON \(.*\); begin anew") as error:
        read_content(tmp_path / "a.json", "begin anew")
    assert "\n" not in str(error.value)


def test_toml_is_read_by_its_name(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfseats = 2\nlist = [1.5, inf]\n")
    assert read_content(path) == {"seats": 2, "list": [1.5, float("inf")]}
    path.write_text("seats = \n")
    with pytest.raises(InputError, match=r"a\.toml: not readable as TOML \(Invalid value .*line 1"):
        read_content(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path, "is a folder"),
        (tmp_path / "no", "no such file"),
        (tmp_path / "pipe", "is a device, pipe or socket"),
    ]:
        with pytest.raises(InputError, match=message):
            read_content(path)


def test_the_wrong_word_of_a_mapping_is_the_one_that_is_named():
    with pytest.raises(InputError, match=r"^w: y: expected a or b, found 'c'"):
        typed(dict[str, Literal["a", "b"]], {"x": "a", "y": "c"}, "w")
