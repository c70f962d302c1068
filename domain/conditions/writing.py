"""Criteria as text, in the one form that domain/conditions/text.parse gives the same tree for."""

from collections.abc import Sequence
from typing import Any

from domain.conditions.properties import Where
from domain.conditions.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Did,
    FirstDid,
    InSequence,
    Member,
    Not,
    OfTrait,
    Sample,
    Step,
    Stopped,
    Times,
    Tree,
    Window,
)
from domain.conditions.words import (
    OPERATORS,
    written_duration,
    written_moment,
    written_name,
    written_value,
)

_WORDS: dict[str, str] = {operator: words for words, operator in OPERATORS}


def written(tree: Tree) -> str:  # noqa: PLR0911  one return for each kind
    match tree:
        case AllOf(conditions=parts):
            return _parts(parts, "and", "all")
        case AnyOf(conditions=parts):
            return _parts(parts, "or", "any")
        case Not(condition=part):
            return f"not {_bracketed(part)}"
        case OfTrait(trait=name):
            return _compared(name, tree.operator, tree.value)
        case Member(segment=segment):
            return f"in segment {written_value(segment)}"
        case Sample(percent=percent, seed=seed):
            return f"sample {written_value(percent)}%{f' {written_value(seed)}' if seed else ''}"
        case _:
            return _happened(tree)


def _parts(parts: Sequence[Tree], word: str, alone: str) -> str:
    if len(parts) == 1:
        return f"{alone} ({written(parts[0])})"
    return f" {word} ".join(map(_bracketed, parts))


def _bracketed(tree: Tree) -> str:
    is_several = isinstance(tree, AllOf | AnyOf) and len(tree.conditions) > 1
    return f"({written(tree)})" if is_several else written(tree)


def _happened(node: Did | FirstDid | Stopped | InSequence | Aggregate) -> str:
    match node:
        case InSequence(first=first, then=then):
            follows = "then" if node.followed else "then not"
            within = written_duration(node.within)
            steps = f"did {_step(first)} {follows} {_step(then)} within {within}"
            return steps + _window(node.window)
        case Aggregate(property=name):
            function = node.function.replace("_", " ")
            over = f"{function} of {written_name(name)} over {_step(Step(node.event, node.where))}"
            return _told(over, node.operator, node.value) + _window(node.within)
    step = _step(Step(node.event, node.where))
    match node:
        case Did():
            return f"did {step}{_times(node.times)}{_window(node.within)}"
        case FirstDid():
            return f"first did {step}{_window(node.within)}"
        case Stopped():
            return f"stopped {step} for {written_duration(node.last)}"


def _step(step: Step) -> str:
    name = "any event" if step.event is None else written_name(step.event)
    if not step.where:
        return name
    return f"{name} where ({' and '.join(map(_where, step.where))})"


def _where(where: Where) -> str:
    return _compared(where.property, where.operator, where.value)


def _times(times: Times) -> str:
    for words, count in (
        ("at least", times.at_least),
        ("at most", times.at_most),
        ("exactly", times.exactly),
    ):
        if count is not None:
            plural = "time" if count == 1 else "times"
            return "" if times == Times(at_least=1) else f" {words} {count} {plural}"
    return ""


def _window(window: Window | None) -> str:
    if window is None:
        return ""
    if window.last is not None:
        return f" in {written_duration(window.last)}"
    assert window.start is not None and window.to is not None  # noqa: PT018  a pair
    return f" from {written_moment(window.start)} to {written_moment(window.to)}"


def _compared(name: str, operator: str, value: Any) -> str:
    return _told(written_name(name), operator, value)


def _told(what: str, operator: str, value: Any) -> str:
    match operator:
        case "is_set" | "is_not_set":
            told = ""
        case "in" | "not_in":
            told = f" ({', '.join(map(written_value, value))})"
        case "between":
            told = f" {written_value(value[0])} and {written_value(value[1])}"
        case "before" | "after" | "on":
            told = f" {written_moment(value)}"
        case "more_than_ago" | "more_than_ahead":
            way = operator.removeprefix("more_than_")
            return f"{what} more than {written_duration(value)} {way}"
        case "in_last" | "not_in_last" | "in_next":
            told = f" {written_duration(value)}"
        case _:
            told = f" {written_value(value)}"
    return f"{what} {_WORDS[operator]}{told}"
