"""Numbers as the report writes them, the same in all its languages; a dash for what is not known."""

NO_BREAK_SPACE, EN_DASH = "\u00a0", "\u2013"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 in percent."""
    return EN_DASH if share is None else f"{100 * share:.{digits}f}{NO_BREAK_SPACE}%"


def decimal(number: float | None) -> str:
    """Three digits after the point."""
    return EN_DASH if number is None else f"{number:.3f}"


def count(number: int | None) -> str:
    """A whole number, its thousands apart."""
    return EN_DASH if number is None else f"{number:,}"
