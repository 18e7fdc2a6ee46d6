"""Templates over the fields of a row: text with names in braces, and nothing that runs."""

from string import Formatter

TemplateParts = list[tuple[str, str | None]]


def template_parts(template: str) -> TemplateParts:
    """Returns a template as pairs of a literal text and the field behind it, None after the last.

    Doubled braces stand for one. Raises ValueError for braces that do not pair, for a field without
    a name, and for the conversions and formats of Python's own templates, which have no place here.
    """
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for braces that are text") from None
    for _, field, layout, conversion in pieces:
        if field is not None and (not field.strip() or layout or conversion):
            raise ValueError(
                f"`{{{field}{'!' if conversion else ':' if layout else ''}…}}` is no field: name "
                "one between braces, and write {{ and }} for braces that are text"
            )
    return [(literal, field) for literal, field, _, _ in pieces]
