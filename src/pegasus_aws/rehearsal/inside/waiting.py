"""Types whose making takes its time: the emulator makes them beside its loop, so that it goes on answering."""

from __future__ import annotations

from ministack.services.cloudformation import stacks


def on_a_thread_of_its_own(*types: str) -> None:
    plain = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda type_: type_ in types or plain(type_)
