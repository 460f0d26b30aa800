"""Names of module calls: equal for a live program and for its file, unique, first call plain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipverify.read.calls import name_calls, split_call

ROOT = ("L__self__", "")


def test_further_calls_are_numbered_in_order_of_appearance():
    stacks = [
        [ROOT, ("i", "i"), ("i.lin", "i.lin")],
        [ROOT, ("i", "i"), ("i.lin@1", "i.lin")],
        [ROOT, ("i@1", "i"), ("i.lin", "i.lin")],
        [ROOT, ("i", "i"), ("i.lin", "i.lin")],
    ]
    assert name_calls(stacks) == [
        ("", "i", "i.lin"),
        ("", "i", "i.lin@1"),
        ("", "i@1", "i.lin@2"),
        ("", "i", "i.lin"),
    ]


def test_an_operation_without_a_stack_belongs_to_the_root():
    assert name_calls([[], [ROOT]]) == [("",), ("",)]


def test_a_module_that_is_really_called_conv_at_1_keeps_its_name():
    stacks = [[ROOT, ("a", "conv")], [ROOT, ("b", "conv")], [ROOT, ("c", "conv@1")]]
    assert name_calls(stacks) == [("", "conv"), ("", "conv@2"), ("", "conv@1")]


@pytest.mark.parametrize(
    ("call", "modules", "expected"),
    [
        ("conv@1", ["conv"], ("conv", 1)),
        ("conv@1", ["conv", "conv@1"], ("conv@1", 0)),
        ("conv", ["conv"], ("conv", 0)),
        ("", [""], ("", 0)),
        ("a@x", ["a"], ("a@x", 0)),
    ],
)
def test_a_name_leads_back_to_module_and_call(call, modules, expected):
    assert split_call(call, modules) == expected


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["f", "g", "f@1"])), max_size=3), max_size=8)
)
def test_two_calls_share_a_name_only_if_they_share_all_keys(stacks):
    by_name: dict[str, list[tuple[str, str]]] = {}
    for stack, calls in zip(stacks, name_calls(stacks), strict=True):
        assert len(calls) == len(stack) + 1
        for depth, name in enumerate(calls[1:], 1):
            keys = stack[:depth]
            assert by_name.setdefault(name, keys) == keys
