"""What every handler of the extension shares: who may, and errors as `Problem`s."""

from __future__ import annotations

import json
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeVar

from jupyter_server.base.handlers import APIHandler
from pydantic import ValidationError
from tornado.web import HTTPError

from element_jupyter.core.errors import ElementError, Invalid, Problem
from element_jupyter.core.validation import explain
from element_jupyter.core.values import Value

MOUNT = "element/api/v1"
"""Where the control plane's REST interface is, below the server's base URL."""

Asked = TypeVar("Asked", bound=Value)


class ElementHandler(APIHandler):
    """A handler whose every answer that is not a success is a `Problem`.

    Each verb of a subclass carries `@web.authenticated` and `@authorized`; an authorizer of the
    server decides about the resource `element`.
    """

    auth_resource = "element"

    def asked(self, kind: type[Asked], example: str) -> Asked:
        """Return the body of the request.

        Raises:
            Invalid: it is no JSON, or not what is to be asked; names the field.
        """
        try:
            data = json.loads(self.request.body)
            return kind.model_validate(data)
        except ValidationError as error:
            raise explain(error, data, kind.model_json_schema()) from error
        except (ValueError, RecursionError) as error:
            raise Invalid("The body must be JSON.", example) from error

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        match error:
            case ElementError():
                self.set_status(error.status)
                problem = error.problem
            case HTTPError():
                problem = Problem(
                    code=HTTPStatus(status_code).name.lower(),
                    message=error.log_message or HTTPStatus(status_code).phrase,
                )
            case _:
                problem = Problem(
                    code="failed",
                    message="The Jupyter server failed to handle this request.",
                    hint="Its log says why.",
                )
        self.finish(problem.model_dump_json())

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if isinstance(value, ElementError):
            self.log.info("%s %s: %s", self.request.method, self.request.path, value.message)
        else:
            super().log_exception(typ, value, tb)
