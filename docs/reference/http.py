"""Writes the page of the HTTP interface from the document that the application makes of itself (OpenAPI)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, cast

from docs.reference.markdown import MARK, Json, code, table

_ADDRESS = "http://127.0.0.1:8000"
_METHODS = ("get", "post", "put", "patch", "delete")


def http_page(api: Json) -> str:
    operations = [(method, path, api["paths"][path][method])
                  for path in api["paths"] for method in api["paths"][path] if method in _METHODS]  # fmt: skip
    tags = dict.fromkeys(operation["tags"][0] for _, _, operation in operations)
    page = f"# HTTP\n\n{api['info']['description']}\n" + (
        "A key's scope is `read`, `write`, `admin` or `operator`; each may do what those before it may. "
        "Lists answer `{items, next_cursor}`; pass `next_cursor` as `cursor` for the next page. Problems are listed in "
        "[errors](errors.md); the same document for programs is [openapi.json](openapi.json). The examples take the "
        "key of this machine: `export PEGASUS_KEY=$(pegasus keys show-local)`.\n\n"
    )
    for tag in tags:
        of_tag = [operation for operation in operations if operation[2]["tags"][0] == tag]
        page += f"## {tag.capitalize()}\n\n" + table(
            ("call", "what it does", "scope", "parameters", "success", "problems"),
            (_operation(*each) for each in of_tag),
        )
        page += "".join(_example(api, *operation) for operation in of_tag)
    return (MARK + page + "".join(_schemas(api))).rstrip("\n") + "\n"


def _operation(method: str, path: str, operation: Json) -> tuple[str, ...]:
    parameters = [
        p["name"].title() if p["in"] == "header" else p["name"]
        for p in operation.get("parameters", ())
        if p["in"] != "path"
    ]
    statuses = sorted(operation["responses"])
    scopes = dict.fromkeys(scope for way in operation.get("security", ()) for given in way.values() for scope in given)
    return (
        code(f"{method.upper()} {path}"),
        operation.get("description") or f"{operation['summary'].strip()}.",
        ", ".join(scopes),
        ", ".join(map(code, parameters)),
        ", ".join(status for status in statuses if status < "400"),
        ", ".join(status for status in statuses if status >= "400"),
    )


def _example(api: Json, method: str, path: str, operation: Json) -> str:
    """curl for each form of body that the operation takes."""
    url = _ADDRESS + re.sub(r"{(\w+)}", lambda name: f"${name[1].upper()}", path)
    calls = []
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "multipart/form-data":
            data = "-F file=@notes.pdf -F tags=work"
        else:
            example = content.get("example") or _sample(_resolved(api, content["schema"]))
            sent = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
            data = f"-H 'Content-Type: {kind}' \\\n  --data-binary {shlex.quote(sent)}"
        calls.append(f'curl -X {method.upper()} {url} -H "X-API-Key: $PEGASUS_KEY" {data}\n')
    return f"```sh\n{''.join(calls)}```\n\n" if calls else ""


def _resolved(api: Json, schema: Json) -> Json:
    return cast("Json", api["components"]["schemas"][_name(schema)] if "$ref" in schema else schema)


def _name(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _sample(schema: Json) -> Json:
    """A body made of the examples that the fields give."""
    return {name: field["examples"][0] for name, field in schema["properties"].items() if "examples" in field}


def _schemas(api: Json) -> Iterator[str]:
    """The fields of each form, those of requests first; pages of lists and what no answer has are left out."""
    shown = {schema["title"]: schema for schema in _inline(api["paths"])} | {
        name: schema
        for name, schema in api["components"]["schemas"].items()
        if "properties" in schema and not name.startswith(("PageOf_", "HTTPValidation", "Validation"))
    }
    for title, of_requests in (("Forms of requests", True), ("Forms of answers", False)):
        yield f"## {title}\n\n"
        for name in sorted(name for name in shown if name.endswith("In") == of_requests):
            schema = shown[name]
            description = schema.get("description", "")
            yield f"### {name}\n\n" + (f"{description}\n\n" if description else "")
            rows = ((field, form, field in schema.get("required", ())) for field, form in schema["properties"].items())
            head = ("field", "type", "default", "meaning") if of_requests else ("field", "type", "meaning")
            yield table(head, (_field(api, *row, of_requests) for row in rows))


def _inline(value: Any) -> Iterator[Json]:
    """Forms that have a name, but stand where they are used."""
    if isinstance(value, dict) and "properties" in value and "title" in value:
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _inline(part)


def _field(api: Json, name: str, schema: Json, required: bool, of_request: bool) -> tuple[str, ...]:
    default = "required" if required else code(json.dumps(schema["default"])) if "default" in schema else ""
    return (code(name), _type(api, schema), *([default] if of_request else []), schema.get("description", ""))


def _type(api: Json, schema: Json) -> str:
    if "$ref" in schema:
        target = _resolved(api, schema)
        return _type(api, target) if "enum" in target else f"[{_name(schema)}](#{_name(schema).lower()})"
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_type(api, one) for one in schema["anyOf"])
    if "prefixItems" in schema:
        return f"[{', '.join(_type(api, one) for one in schema['prefixItems'])}]"
    if schema.get("type") == "array":
        return f"list of {_type(api, schema['items'])}" + _bounds(schema, "Items")
    words = "time" if schema.get("format") == "date-time" else str(schema.get("type", "anything"))
    return words + _bounds(schema, "Length") + _bounds(schema, "imum")


def _bounds(schema: Json, kind: str) -> str:
    low, high = (int(schema[name]) if (name := f"{end}{kind}") in schema else None for end in ("min", "max"))
    unit = {"Items": " items", "Length": " characters"}.get(kind, "")
    if low is not None and high is not None:
        return f", {low} to {high}{unit}"
    return f", at least {low}{unit}" if low is not None else f", at most {high}{unit}" if high is not None else ""
