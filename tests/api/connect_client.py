# SPDX-License-Identifier: Apache-2.0
"""The Connect protocol with its JSON codec, byte by byte: what E2B's clients speak to a sandbox."""

import base64
import json
import struct
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

END = 2


def envelope(message: Union[Dict[str, Any], bytes], flags: int = 0) -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


class CallError(Exception):
    def __init__(self, status: int, code: Any, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


class Envd:
    """The calls into one sandbox."""

    def __init__(self, daemon: Any, sandbox: Dict[str, Any], user: str = "", **headers: str) -> None:
        self.daemon, self.id, self.token = daemon, sandbox["sandbox_id"], sandbox["envd_access_token"]
        self.headers = {
            "E2b-Sandbox-Id": self.id, "E2b-Sandbox-Port": "49983", "X-Access-Token": self.token, "Connect-Protocol-Version": "1",
            **({"Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()} if user else {}), **headers,
        }

    def raw(self, path: str, body: bytes, type_: str = "application/json", **headers: str) -> Any:
        merged = {**self.headers, "Content-Type": type_, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return self.daemon.request("POST", "/e2b" + path, body, {k: v for k, v in merged.items() if v}, key=None)

    def call(self, method: str, **fields: Any) -> Any:
        """One message for one."""
        answer = self.raw(path_of(method), json.dumps(fields).encode())
        assert answer.headers["Content-Type"] == "application/json"
        if answer.status != 200:
            raise CallError(answer.status, answer.json["code"], answer.json["message"])
        return answer.json

    def stream(self, method: str, _timeout: float = 60, _headers: Optional[Dict[str, str]] = None, **fields: Any) -> "Stream":
        return Stream(self, method, envelope(fields), _timeout, _headers or {})

    def start(self, cmd: str, _headers: Optional[Dict[str, str]] = None, **fields: Any) -> "Stream":
        """A shell's command, as the SDK runs it."""
        process = {"cmd": "/bin/bash", "args": ["-l", "-c", cmd], **fields.pop("process", {})}
        return self.stream("process.Process/Start", _headers=_headers, process=process, **{"stdin": False, **fields})

    def run(self, cmd: str, **fields: Any) -> "Result":
        with self.start(cmd, **fields) as s:
            return s.result()


def path_of(method: str) -> str:
    return "/" + method


class Result(NamedTuple):
    pid: int
    stdout: bytes
    stderr: bytes
    pty: bytes
    end: Optional[Dict[str, Any]]
    keepalives: int


class Stream:
    def __init__(self, envd: Envd, method: str, body: bytes, timeout: float, headers: Dict[str, str]) -> None:
        self.connection = envd.daemon.connect(timeout)
        all_headers = {**envd.headers, "Content-Type": "application/connect+json", "Keepalive-Ping-Interval": "50", **headers}
        self.connection.request("POST", "/e2b" + path_of(method), body, all_headers)
        self.socket = self.connection.sock
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            answer = json.loads(self.response.read())
            raise CallError(self.response.status, answer["code"], answer["message"])
        assert self.response.headers["Content-Type"] == "application/connect+json"
        self.ended = False

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.response.close()
        self.connection.close()

    def exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = self.response.read(n - len(data))
            assert piece, "the stream ended without its end"
            data += piece
        return data

    def next(self) -> Optional[Dict[str, Any]]:
        """The next message; None at the end. Raises what the end says."""
        flags, n = struct.unpack(">BI", self.exactly(5))
        message = json.loads(self.exactly(n))
        if not flags:
            return message
        assert flags == END
        self.ended = True
        assert self.response.read() == b""
        if "error" in message:
            raise CallError(200, message["error"]["code"], message["error"]["message"])
        assert message == {}
        return None

    def messages(self) -> Iterator[Dict[str, Any]]:
        while (message := self.next()) is not None:
            yield message

    def pid(self) -> int:
        """The first message of a process."""
        message = self.next()
        assert message is not None and set(message["event"]) == {"start"}, message
        return message["event"]["start"]["pid"]

    def result(self, pid: int = 0) -> Result:
        """The whole of a process; pid: its first message was read already."""
        pid = pid or self.pid()
        out: Dict[str, List[bytes]] = {"stdout": [], "stderr": [], "pty": []}
        end, keepalives = None, 0
        for message in self.messages():
            event = message["event"]
            assert end is None, "nothing comes behind the end"
            if "data" in event:
                ((name, data),) = event["data"].items()
                out[name].append(base64.b64decode(data))
            elif "keepalive" in event:
                keepalives += 1
            else:
                end = event["end"]
        return Result(pid, b"".join(out["stdout"]), b"".join(out["stderr"]), b"".join(out["pty"]), end, keepalives)

    def until(self, text: bytes, name: str = "stdout") -> bytes:
        """Reads output until the text is in it."""
        seen = b""
        while text not in seen:
            message = self.next()
            assert message is not None, seen
            seen += base64.b64decode(message["event"].get("data", {}).get(name, ""))
        return seen
