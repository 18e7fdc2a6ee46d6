"""Preference pairs from trees: two thoughts after the same path, of which one leads further."""

from llamao1_cli.export.steps import Step

MOST = 2  # better thoughts of a step, and as many worse ones


def preference_pairs(step: Step, margin: float) -> list[tuple[Step, Step]]:
    """Returns better and worse thoughts after `step`, mined as rStar-Math does (Guan et al. 2025).

    The two best that led to a right answer against the two worst that led to a wrong one, where the
    better one's quality is higher, by `margin` at the least. Of equals the first sampled count.
    """
    children = list(step.children.values())
    better = sorted((c for c in children if c.right), key=lambda c: c.quality, reverse=True)[:MOST]
    worse = sorted((c for c in children if c.wrong), key=lambda c: c.quality)[:MOST]
    return [
        (good, bad)
        for good in better
        for bad in worse
        if good.quality > bad.quality
        and good.quality - bad.quality >= margin
        and (good.said.meta, good.said.text) != (bad.said.meta, bad.said.text)
    ]
