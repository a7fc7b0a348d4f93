"""Tools out of plain functions: strict in their arguments, with errors that an agent can act on."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp_types import ToolAnnotations
from pydantic import ConfigDict, ValidationError

from api.problems import from_validation
from memrelay.errors import ApiError, InvalidInput, MemrelayError

type Function = Callable[..., Awaitable[Any]]
type Names = Mapping[str, str]
"""Regular expressions for the pointers of our routes, and what the tools call that field."""


class _Arguments(FuncMetadata):
    """Text stays text: MCPServer would read ``null`` as JSON wherever text may also be left out."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        fields = self.arg_model.model_fields
        texts = {
            name
            for name, it in fields.items()
            if {str, Any} & {it.annotation, *get_args(it.annotation)}
        }
        others = {name: value for name, value in data.items() if name not in texts}
        return super().pre_parse_json(others) | {
            name: value for name, value in data.items() if name in texts
        }


class _Tool(Tool):
    """Tells what is wrong with arguments in one line, as everything else that is wrong."""

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:
        try:
            return await super().run(arguments, context, convert_result)
        except UnexpectedToolError:
            raise
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            problem = from_validation(error.__cause__)
            said = "; ".join(_field(pointer, detail, {}) for pointer, detail in problem.errors)
            raise ToolError(f"Error executing tool {self.name}: {said}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """Functions that are tools. A function's docstring is what the agent is told of it.

    Those of ``changes`` may take away what was there: an agent's host may ask somebody first.
    ``declared`` has, by the names of tools, the ``description`` and ``parameters`` that it is told instead.
    """

    reads: Sequence[Function]
    adds: Sequence[Function]
    changes: Sequence[Function]
    names: Names
    declared: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def tools(self) -> list[Tool]:
        return [self._tool(function) for function in (*self.adds, *self.reads, *self.changes)]

    def _tool(self, function: Function) -> Tool:
        """An unknown argument is refused, not dropped: it may say whose memories are meant."""
        declared = self.declared.get(function.__name__, {})
        tool = _Tool.from_function(
            _told(function, self.names),
            description=declared.get("description") or inspect.getdoc(function),
            annotations=ToolAnnotations(
                read_only_hint=function in self.reads, destructive_hint=function in self.changes
            ),
        )
        arguments = tool.fn_metadata.arg_model
        arguments.model_config |= ConfigDict(extra="forbid")
        arguments.model_rebuild(force=True)
        tool.parameters = declared.get("parameters") or arguments.model_json_schema(by_alias=True)
        tool.fn_metadata = _Arguments(**dict(tool.fn_metadata))
        return tool


def _told(function: Function, names: Names) -> Function:
    """The function, with our errors told to the agent. What is no error of ours is told to nobody."""

    @functools.wraps(function)
    async def tool(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except MemrelayError as error:
            raise ToolError(_said(error, names)) from error

    return tool


def _said(error: MemrelayError, names: Names) -> str:
    """One line: which field, what is wrong with it, and when to try again."""
    if isinstance(error, InvalidInput):
        return _field(error.pointer, str(error), names)
    if not isinstance(error, ApiError):
        return str(error)
    said = "; ".join(_field(pointer, detail, names) for pointer, detail in error.errors)
    said = said or str(error.problem.get("detail", error))
    if error.retry_after is not None:
        said += f" Try again in {error.retry_after:g} s."
    return said


def _field(pointer: str, detail: str, names: Names) -> str:
    name = pointer
    for pattern, told in names.items():
        name = re.sub(pattern, told, name)
    return f"{name.lstrip('/')}: {detail}" if name else detail
