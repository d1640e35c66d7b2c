# SPDX-License-Identifier: Apache-2.0
"""Finding personal data with a separate guardrails service (``GUARDRAILS_URL``). It is not a part of declaw's server."""

import os
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from .._wire import expect, expect_list
from ..api.client import ApiClient
from ..connection_config import ConnectionConfig

_DEFAULT_URL = "http://localhost:8000"


class GuardrailsClient:
    """Speaks to the service.

    Args:
        base_url: default: ``GUARDRAILS_URL``, else ``http://localhost:8000``.
        timeout: seconds for the connection and for each wait for an answer.
    """

    def __init__(self, base_url: Optional[str] = None, timeout: float = 30) -> None:
        url = base_url or os.environ.get("GUARDRAILS_URL") or _DEFAULT_URL
        # No key: the sandbox server's is no business of another service.
        self._client = ApiClient(ConnectionConfig(api_key="", api_url=url, request_timeout=timeout))

    def health(self) -> Dict[str, Any]:
        """The service's word on itself. Raises SandboxError and its kinds where it cannot be had."""
        answer: Dict[str, Any] = self._client.get("/health")
        return answer

    def scan_pii(
        self, text: str, *, entities: Optional[Sequence[str]] = None, confidence_threshold: float = 0.7
    ) -> List[Dict[str, Any]]:
        """Personal data in a text.

        Args:
            entities: which kinds; None: all that the service knows.
            confidence_threshold: 0 to 1; what the service is less sure of is left out.

        Returns:
            dicts with ``type``, ``start`` and ``end`` (in characters), and what else the service says.

        Raises:
            SandboxError and its kinds: the service cannot be reached, refuses, or answers something else.
        """
        body: Dict[str, Any] = {"text": text, "scanners": ["pii"], "confidence_threshold": confidence_threshold}
        if entities is not None:
            body["entities"] = list(entities)
        found = expect_list(expect(self._client.post("/api/v1/scan", json=body), "entities")["entities"])
        return [entity for entity in found if isinstance(entity, dict)]


class PIIHandler:
    """Takes personal data out of texts and puts it back.

    Args:
        guardrails_url: as for `GuardrailsClient`.
        confidence_threshold: 0 to 1.
        entities: which kinds; None: all.
    """

    def __init__(
        self,
        guardrails_url: Optional[str] = None,
        confidence_threshold: float = 0.7,
        entities: Optional[Sequence[str]] = None,
    ) -> None:
        self._service = GuardrailsClient(guardrails_url)
        self._threshold = confidence_threshold
        self._entities = entities

    def anonymize(self, texts: Union[str, Sequence[str]]) -> Tuple[List[str], Dict[str, str]]:
        """Puts tokens (``<EMAIL_1>``) in the place of what the service finds.

        Returns:
            the texts, and for each token what it stands for; the same value has the same token in all texts.
        """
        tokens: Dict[Tuple[str, str], str] = {}
        clean: List[str] = []
        for text in [texts] if isinstance(texts, str) else texts:
            found = self._service.scan_pii(text, entities=self._entities, confidence_threshold=self._threshold)
            out, at = "", 0
            for entity in sorted(found, key=lambda e: int(e["start"])):
                start, end = int(entity["start"]), int(entity["end"])
                if not at <= start < end <= len(text):
                    continue  # overlaps one that is out already
                kind, value = str(entity["type"]).upper(), text[start:end]
                count = sum(1 for known, _ in tokens if known == kind)
                out += text[at:start] + tokens.setdefault((kind, value), f"<{kind}_{count + 1}>")
                at = end
            clean.append(out + text[at:])
        return clean, {token: value for (_, value), token in tokens.items()}

    @staticmethod
    def deanonymize(text: str, mapping: Mapping[str, str]) -> str:
        """`text` with every token replaced by what it stands for."""
        return "".join(PIIHandler.deanonymize_stream([text], mapping))

    @staticmethod
    def deanonymize_stream(chunks: Iterable[str], mapping: Mapping[str, str]) -> Iterator[str]:
        """As `deanonymize`, for a text that comes in pieces, which may cut tokens."""
        longest = max(map(len, mapping), default=0)
        rest = ""
        for chunk in chunks:
            rest += chunk
            out = ""
            while "<" in rest:
                before, _, tail = rest.partition("<")
                name, close, after = tail.partition(">")
                if not close and len(tail) + 1 < longest:
                    out, rest = out + before, "<" + tail  # the token may end in the next piece
                    break
                token = f"<{name}>"
                if close and token in mapping:
                    out, rest = out + before + mapping[token], after
                else:
                    out, rest = out + before + "<", tail
            else:
                out, rest = out + rest, ""
            if out:
                yield out
        if rest:
            yield rest
