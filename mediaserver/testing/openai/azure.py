"""What Azure refuses before a request reaches OpenAI's API.

https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle and
https://learn.microsoft.com/azure/foundry/openai/how-to/realtime-audio-websockets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from mediaserver.testing.http_server import RefusedError


_V1: Final = "/openai/v1/"
_DATED: Final = re.compile(r"/openai/(?:deployments/([^/]+)/)?(.+)")
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")


@dataclass(frozen=True, slots=True)
class AzureGate:
    """A resource at Azure: who is let in, and to what.

    Attributes:
        api_key: its key.
        token: a token of Microsoft Entra that it accepts.
        deployments: the names of its deployments; None has every name.

    """

    api_key: str = "an Azure key"
    token: str = "an Entra token"
    deployments: Sequence[str] | None = None

    def passes(
        self, path: str, query: str, headers: Mapping[str, str], *, own: Sequence[str] = ()
    ) -> tuple[str, str | None]:
        """Return the path of OpenAI's API, and the deployment if the path names it.

        Args:
            path: the path of the request.
            query: its query.
            headers: its headers.
            own: the parameters that the API itself takes in the query.

        Raises:
            RefusedError: Azure would refuse it.

        """
        key, authorization = headers.get("api-key"), headers.get("authorization")
        if key != self.api_key if key is not None else authorization != f"Bearer {self.token}":
            raise RefusedError(
                401,
                "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
                "provide a valid key for an active subscription and use a correct regional API "
                "endpoint for your resource.",
                "401",
            )
        parameters = parse_qs(query, keep_blank_values=True)
        version = parameters.pop("api-version", [None])[-1]
        if unknown := sorted(parameters.keys() - set(own)):
            raise RefusedError(400, f"unknown query parameters: {', '.join(unknown)}")
        if path.startswith(_V1):
            if version not in (None, "v1", "preview"):
                raise RefusedError(400, "API version not supported", "BadRequest")
            return "/v1/" + path.removeprefix(_V1), None
        dated = _DATED.fullmatch(path)
        # Only the models are not below a deployment; the Realtime API has no dated versions.
        if (
            dated is None
            or version is None
            or not _VERSION.fullmatch(version)
            or (dated[1] is None) != (dated[2] == "models")
        ):
            raise RefusedError(404, "Resource not found", "404")
        self.check_deployment(dated[1])
        return "/v1/" + dated[2], dated[1]

    def check_deployment(self, name: object) -> None:
        """Refuse a deployment that does not exist.

        Raises:
            RefusedError: there is none of that name.

        """
        if name is not None and self.deployments is not None and name not in self.deployments:
            raise RefusedError(
                404,
                "The API deployment for this resource does not exist. If you created the "
                "deployment within the last 5 minutes, please wait a moment and try again.",
                "DeploymentNotFound",
            )
