import pytest


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "binary"), ("binary", "binary"), ("JSON", "json"), ("xml", "xml"), (" json ", " json ")],
)
def test_a_format_is_lower_cased_and_none_is_the_default(load, value, expected):
    assert load("formats").normalize_format(value) == expected


@pytest.mark.parametrize(("value", "expected"), [("binary", True), ("Json", True), ("xml", False), ("", False)])
def test_support_is_told_in_any_case(load, value, expected):
    assert load("formats").is_supported(value) is expected


def test_the_constants_are_the_contract(load):
    formats = load("formats")
    assert formats.DEFAULT_FORMAT == "binary"
    assert set(formats.SUPPORTED_FORMATS) == {"binary", "json"}
