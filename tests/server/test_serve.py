"""The server of `faceemo serve`, with clients that mean well and clients that do not."""

import asyncio
import contextlib
import importlib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

import httpx
import numpy as np
import pytest
import websockets
from browser import ROOT
from made_archives import encoded, end_process, heed_ctrl_c, png
from made_models import random_model
from PIL import Image
from systems import WINDOWS, needs_posix
from video import camera_frames, jpeg

from faceemo.errors import FaceemoError
from faceemo.prediction.model import EmotionModel
from faceemo.server import app, clients, readers, run
from faceemo.server.guard import parse_origins
from faceemo.server.run import MAX_MESSAGE_BYTES, Server, listen, serve
from faceemo.training.model import save_model

pytestmark = pytest.mark.slow

BLANK = jpeg(np.zeros((60, 80, 3), np.uint8))


@pytest.fixture(scope="module")
def face():
    return jpeg(camera_frames("neutral")[0])


@pytest.fixture(scope="module")
def group():
    """A JPEG of three faces: one large, one of half its size and one between."""
    picture = camera_frames("neutral")[0]
    half = np.ascontiguousarray(picture[::2, ::2])
    other = np.asarray(Image.fromarray(camera_frames("anxious")[0]).resize((480, 360)))
    row = np.full((480, 640 + 480, 3), 120, np.uint8)
    row[:, :640], row[:360, 640:] = picture, other
    below = np.full((240, 640 + 480, 3), 120, np.uint8)
    below[:, 400:720] = half
    return jpeg(np.vstack([row, below]))


@contextlib.contextmanager
def running(**normalize):
    """host:port of a real server in a thread, with random_model(**normalize)."""
    with serving(random_model(**normalize)) as address:
        yield address


@contextlib.contextmanager
def serving(trained, origins=()):
    """host:port of a real server in a thread, with this model."""
    server = Server(app.create_app(EmotionModel(trained), origins))
    with listen(0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def host():
    with running() as address:
        yield address


@pytest.fixture(scope="module")
def person_host():
    with running(baseline="person") as address:
        yield address


def claiming(width, height):
    """A PNG of a few bytes that claims this size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def connected(host, **options):
    return websockets.connect(f"ws://{host}/live", origin=f"http://{host}", **options)


async def asked_of(socket_, message):
    await socket_.send(message)
    return json.loads(await asyncio.wait_for(socket_.recv(), 20))


async def asked_when_there_is_room(host, message):
    """The answer to a message as soon as a client may connect; None if that takes too long."""
    for _ in range(100):
        async with connected(host) as client:
            with contextlib.suppress(websockets.exceptions.ConnectionClosed):
                return await asked_of(client, message)
        await asyncio.sleep(0.05)


class TestPage:
    @pytest.mark.parametrize("path", list(app.PAGE))
    def test_every_file_is_there_and_asks_for_nothing_from_elsewhere(self, host, path):
        answer = httpx.get(f"http://{host}{path}")
        assert answer.status_code == 200 and len(answer.text) > 100
        assert "https://" not in answer.text and "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert answer.headers["cache-control"] == "no-store"

    def test_the_page_may_load_and_reach_nothing_but_this_server(self, host):
        policy = httpx.get(f"http://{host}/").headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy

    def test_the_api_is_described_on_a_page_without_a_cdn(self, host):
        described = httpx.get(f"http://{host}/openapi.json").json()
        assert "post" in described["paths"]["/predict"]
        page = httpx.get(f"http://{host}/docs").text
        assert "https://" not in page
        for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
            assert name in page
            assert httpx.get(f"http://{host}/static-offline-docs/{name}").status_code == 200

    @pytest.mark.parametrize(
        "path",
        [
            "/params.yaml",
            "/../params.yaml",
            "/..%2f..%2fparams.yaml",
            "/web/index.html",
            "/static-offline-docs/../app.py",
        ],
    )
    def test_nothing_else_is_given_out(self, host, path):
        name, port = host.split(":")
        with socket.create_connection((name, int(port))) as connection:  # a client that does not tidy the path
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 404")

    def test_other_methods_are_refused(self, host):
        assert httpx.post(f"http://{host}/").status_code == 405
        assert httpx.get(f"http://{host}/predict").status_code == 405


class TestStrangers:
    @pytest.mark.parametrize(
        "name",
        [
            "evil.example",
            "evil.example:{port}",
            "127.0.0.1.evil.example",
            "127.0.0.1:",
            "localhost:x",
            "",
            "0.0.0.0:{port}",
        ],
    )
    def test_another_host_name_is_refused(self, host, name):
        header = name.format(port=host.split(":")[1])
        for path in ("/", "/model", "/predict"):
            answer = httpx.request("GET", f"http://{host}{path}", headers={"Host": header})
            assert answer.status_code == 403
        is_name = name in ("evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "0.0.0.0:{port}")
        said = f"http://{header} (https where the browser shows that)" if is_name else "and its address"
        assert answer.json()["error"] == (
            f"not served under this name; open http://{host}/ on the machine that serves, or http://localhost with the "
            f"port of your tunnel; for a proxy start it with --allow-origin {said}"
        )

    @pytest.mark.parametrize(
        "name", ["localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "127.0.0.1", "localhost:9000", "[::1]"]
    )
    def test_names_of_this_machine_are_served_whatever_the_port_of_a_tunnel(self, host, face, name):
        name = name.format(port=host.split(":")[1])
        assert httpx.get(f"http://{host}/", headers={"Host": name}).status_code == 200
        own = {"Host": name, "Origin": f"http://{name.lower()}"}
        assert httpx.post(f"http://{host}/predict", content=face, headers=own).status_code == 200

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "https://{host}", "http://127.0.0.1:1", "http://localhost"]
    )
    def test_another_origin_is_refused(self, host, face, origin):
        headers = {"Origin": origin.format(host=host)}
        answer = httpx.post(f"http://{host}/predict", content=face, headers=headers)
        assert answer.status_code == 403 and answer.json()["status"] == "refused"
        said = "and its address" if origin == "null" else headers["Origin"]
        assert answer.json()["error"].endswith(f"where it may ask, start it with --allow-origin {said}")

        async def connect():
            async with websockets.connect(f"ws://{host}/live", origin=headers["Origin"]):
                pass

        with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
            asyncio.run(connect())

    def test_a_websocket_without_an_origin_is_refused(self, host):
        async def connect():
            async with websockets.connect(f"ws://{host}/live"):
                pass

        with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
            asyncio.run(connect())

    def test_what_a_foreign_page_asks_for_is_refused_and_a_link_from_one_is_not(self, host, face):
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert httpx.post(f"http://{host}/predict", content=face, headers=foreign).status_code == 403
        assert httpx.get(f"http://{host}/app.js", headers=foreign).status_code == 403
        assert httpx.get(f"http://{host}/", headers={**foreign, "Sec-Fetch-Dest": "document"}).status_code == 200

    def test_a_page_that_was_named_may_ask(self, face):
        page, proxy = "https://lab.example", "http://faces.example:8080"
        with serving(random_model(), (page, proxy)) as host:
            asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
            before = httpx.options(f"http://{host}/predict", headers={"Origin": page, **asked})
            assert before.status_code == 200 and before.headers["access-control-allow-methods"] == "GET, POST"
            foreign = {"Origin": page, "Sec-Fetch-Site": "cross-site"}
            answer = httpx.post(f"http://{host}/predict", content=face, headers=foreign)
            assert answer.json()["status"] == "ok" and answer.headers["access-control-allow-origin"] == page
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            for name, origin in (("faces.example:8080", proxy), ("lab.example", page)):  # as a proxy passes it on
                headers = {"Host": name, "Origin": origin}
                assert httpx.post(f"http://{host}/predict", content=face, headers=headers).status_code == 200
            for headers in ({"Origin": "https://other.example"}, {"Host": "other.example", "Origin": page}):
                answer = httpx.post(f"http://{host}/predict", content=face, headers=headers)
                assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
            assert (
                httpx.options(f"http://{host}/predict", headers={"Origin": "https://other.example"}).status_code == 403
            )

            async def talk():
                async with websockets.connect(f"ws://{host}/live", origin=page) as client:
                    return await asked_of(client, face)

            assert asyncio.run(talk())["status"] == "ok"

    @pytest.mark.parametrize("origin", ["*", "lab.example", "https://lab.example/page", "file://", ""])
    def test_what_is_no_origin_is_one_line(self, origin):
        with pytest.raises(FaceemoError, match=r"--allow-origin .*: not like https://example.org or http://localhost"):
            parse_origins([origin])
        assert parse_origins(["HTTPS://Lab.example/", "http://[::1]:80"]) == ("https://lab.example", "http://[::1]:80")

    def test_only_this_machine_is_listened_to(self):
        with listen(0) as listener:
            assert listener.getsockname()[0] == "127.0.0.1"


class TestPost:
    def test_a_picture_is_judged_as_by_predict(self, host, face):
        answer = httpx.post(f"http://{host}/predict", content=face, params={"landmarks": True}).json()
        rgb = np.asarray(Image.open(io.BytesIO(face)))
        expected = EmotionModel(random_model()).predict_proba(rgb)
        assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist(), abs=0.02)  # decoders differ
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
        left, top, right, bottom = answer["box"]
        assert np.array(answer["landmarks"]).shape == (478, 2)
        assert 0 < left < right < answer["width"] == 640 and 0 < top < bottom < answer["height"] == 480

    def test_a_form_is_taken_as_browsers_and_curl_send_it(self, host, face):
        expected = httpx.post(f"http://{host}/predict", content=face).json()
        words = {"comment": "before the file", "filename": "as a value"}
        for files in ({"file": ("사진.jpg", face, "image/jpeg")}, {"a": ("a", face), "b": ("b.jpg", b"no picture")}):
            assert httpx.post(f"http://{host}/predict", data=words, files=files).json() == expected
        without = {"status": "decode_error", "error": "a form without a file; curl sends one by -F file=@face.jpg"}
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        for form in (
            {"content": b"no form", "headers": headers},
            {"content": face, "headers": headers},
            {"files": {"file": (None, "face.jpg")}},  # curl -F file=face.jpg
        ):
            answer = httpx.post(f"http://{host}/predict", **form)
            assert (answer.status_code, answer.json()) == (400, without)

    def test_what_curl_leaves_of_a_file_says_how_to_send_it(self, host, face):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}  # of -d and --data-binary alike
        assert httpx.post(f"http://{host}/predict", content=face, headers=headers).json()["status"] == "ok"
        said = {"status": "decode_error", "error": "not a file as it is; curl sends one by --data-binary @face.jpg"}
        for body in (face.translate(None, b"\r\n\0"), b"face.jpg"):  # curl -d @face.jpg, curl -d face.jpg
            answer = httpx.post(f"http://{host}/predict", content=body, headers=headers)
            assert (answer.status_code, answer.json()) == (400, said)

    def test_slow_pictures_hold_up_no_quick_one(self, host, face):
        """Each of the slow ones takes longer than all the quick ones together."""
        slow, ended = encoded(np.zeros((5000, 6000, 3), np.uint8), "PNG"), []

        def send():
            ended.append(
                (httpx.post(f"http://{host}/predict", content=slow, timeout=120).json()["status"], time.time())
            )

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        for _ in range(3):
            assert httpx.post(f"http://{host}/predict", content=face, timeout=60).json()["status"] == "ok"
        answered = time.time()
        for thread in threads:
            thread.join()
        assert [status for status, _ in ended] == ["no_face"] * 3
        assert max(when for _, when in ended) > answered

    def test_too_many_slow_pictures_are_refused(self, host, monkeypatch):
        monkeypatch.setattr(clients, "MAX_SLOW", 0)
        slow = encoded(np.zeros((2000, 3000, 3), np.uint8), "PNG")
        assert httpx.post(f"http://{host}/predict", content=slow).status_code == 503

    def test_a_picture_that_would_take_too_long_says_why(self, host):
        answer = httpx.post(f"http://{host}/predict", content=png(8000, 6000))
        assert answer.status_code == 400
        assert answer.json()["error"] == "8000 x 6000 pixels, above the bound of 40000000 here; save it as JPEG"

    def test_a_picture_without_a_face_is_no_error(self, host):
        answer = httpx.post(f"http://{host}/predict", content=BLANK)
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "no_face",
            "width": 80,
            "height": 60,
            **dict.fromkeys(("error", "label", "probabilities", "box", "landmarks")),
        }

    @pytest.mark.parametrize("name", ["empty", "text", "cut", "huge"])
    def test_what_is_no_picture_says_why(self, host, face, name):
        huge = claiming(60_000, 60_000)
        data = {"empty": b"", "text": b"not at all", "cut": face[:3000], "huge": huge}[name]
        answer = httpx.post(f"http://{host}/predict", content=data)
        assert answer.status_code == 400
        assert answer.json()["status"] == "decode_error" and answer.json()["error"]
        assert name != "huge" or "above the bound" in answer.json()["error"]

    def test_a_picture_longer_than_facemesh_takes_is_answered(self, host):
        long = encoded(np.zeros((40_000, 1, 3), np.uint8), "PNG")
        assert httpx.post(f"http://{host}/predict", content=long).json()["status"] == "no_face"

    def test_a_picture_that_kills_is_answered_and_the_server_lives(self, host, face, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(readers, "measure_if_quick", end_process)
            answer = httpx.post(f"http://{host}/predict", content=face, timeout=30)
        assert answer.status_code == 400
        assert (answer.json()["status"], answer.json()["error"]) == ("decode_error", "the decoder died on it")
        assert httpx.post(f"http://{host}/predict", content=face, timeout=30).json()["status"] == "ok"

    def test_too_many_bytes_are_refused_before_they_are_taken(self, host, monkeypatch):
        monkeypatch.setattr(clients, "MAX_PICTURE_BYTES", 100_000)
        assert httpx.post(f"http://{host}/predict", content=bytes(100_001)).status_code == 413

        def endless():
            for _ in range(1000):
                yield bytes(10_000)

        with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # the server need not hear the rest
            assert httpx.post(f"http://{host}/predict", content=endless()).status_code == 413

    def test_a_picture_that_never_comes_is_given_up(self, host, monkeypatch):
        monkeypatch.setattr(clients, "UPLOAD_SECONDS", 0.2)
        name, port = host.split(":")
        with socket.create_connection((name, int(port)), timeout=20) as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n\r\nonly this"
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 408")

    def test_pictures_that_never_come_do_not_hold_up_another(self, host, face):
        name, port = host.split(":")
        with contextlib.ExitStack() as open_:
            for _ in range(40):
                connection = open_.enter_context(socket.create_connection((name, int(port)), timeout=20))
                head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000000\r\n\r\n"
                connection.sendall(head.encode() + bytes(50_000))
            for _ in range(3):
                assert httpx.post(f"http://{host}/predict", content=face).json()["status"] == "ok"

    def test_pictures_on_their_way_are_bounded_together(self, host, face, monkeypatch):
        monkeypatch.setattr(clients, "MAX_HELD_BYTES", 50_000)
        assert len(face) < 50_000
        assert httpx.post(f"http://{host}/predict", content=bytes(50_001)).status_code == 503
        for _ in range(3):  # what was held is given back, whatever the answer
            assert httpx.post(f"http://{host}/predict", content=face).status_code == 200

    def test_a_model_that_judges_change_wants_a_neutral_face(self, person_host, face):
        refused = httpx.post(f"http://{person_host}/predict", content=face)
        assert refused.status_code == 409 and "neutral" in refused.json()["error"]
        assert httpx.post(f"http://{person_host}/neutral", content=BLANK).status_code == 400
        token = httpx.post(f"http://{person_host}/neutral", content=face).json()["neutral"]
        answer = httpx.post(f"http://{person_host}/predict", content=face, params={"neutral": token})
        assert answer.status_code == 200 and answer.json()["status"] == "ok"
        assert httpx.post(f"http://{person_host}/predict", content=face, params={"neutral": "x"}).status_code == 409

    def test_a_neutral_face_corrects_the_answers_of_a_model_of_single_pictures(self, host, face):
        token = httpx.post(f"http://{host}/neutral", content=face).json()["neutral"]
        before, after = (
            httpx.post(f"http://{host}/predict", content=face, params=params).json()["probabilities"]
            for params in ({}, {"neutral": token})
        )
        assert after["neutral"] - before["neutral"] > 0.01 or before["neutral"] > 0.9
        assert httpx.post(f"http://{host}/predict", content=face, params={"neutral": "x"}).status_code == 409
        everybody = httpx.post(f"http://{host}/predict", content=face, params={"neutral": token, "faces": "all"})
        assert everybody.status_code == 409 and "of one person" in everybody.json()["error"]

    def test_a_model_without_neutral_takes_none(self, face):
        with serving(random_model(("happy", "sad"))) as address:
            assert httpx.post(f"http://{address}/neutral", content=face).status_code == 409
            answer = httpx.post(f"http://{address}/predict", content=face, params={"neutral": "x"})
            assert answer.status_code == 409 and "takes no neutral face" in answer.json()["error"]

    def test_every_face_is_answered_the_largest_first(self, host, group):
        largest = httpx.post(f"http://{host}/predict", content=group, params={"landmarks": True}).json()
        answer = httpx.post(f"http://{host}/predict", content=group, params={"landmarks": True, "faces": "all"}).json()
        assert "faces" not in largest and answer["status"] == "ok"
        assert answer["faces_found"] == len(answer["faces"]) == 3
        assert all(np.shape(face["landmarks"]) == (478, 2) for face in answer["faces"])
        widths = [face["box"][2] - face["box"][0] for face in answer["faces"]]
        assert widths == sorted(widths, reverse=True) and widths[2] < 0.8 * widths[0]
        assert {name: answer[name] for name in answer["faces"][0]} == answer["faces"][0]
        assert len({tuple(face["probabilities"].values()) for face in answer["faces"]}) == 3
        without = httpx.post(f"http://{host}/predict", content=group, params={"faces": "all"}).json()
        assert [face["landmarks"] for face in without["faces"]] == [None] * 3

    def test_every_face_of_nobody_is_none(self, host):
        answer = httpx.post(f"http://{host}/predict", content=BLANK, params={"faces": "all"})
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["faces"], answer.json()["faces_found"]) == ("no_face", [], 0)
        answer = httpx.post(f"http://{host}/predict", content=b"no picture", params={"faces": "all"})
        assert answer.status_code == 400 and answer.json()["faces"] == []

    def test_every_face_is_refused_by_a_model_that_judges_change(self, person_host, group):
        for neutral in ({}, {"neutral": "x"}):
            answer = httpx.post(f"http://{person_host}/predict", content=group, params={"faces": "all", **neutral})
            assert (answer.status_code, answer.json()["status"]) == (409, "one_person")
            assert "take a model of single pictures" in answer.json()["error"]

    @pytest.mark.parametrize("faces", ["abc", "0", "", "-1", "ALL", "x" * 1000])
    def test_a_parameter_that_is_wrong_is_one_line_that_says_what_it_may_be(self, host, face, faces):
        answer = httpx.post(f"http://{host}/predict", content=face, params={"faces": faces})
        assert (answer.status_code, answer.json()["status"]) == (422, "wrong_parameter")
        error = answer.json()["error"]
        assert error == f"faces: Input should be 'largest' or 'all', not {faces[:40]!r}"


class TestConnections:
    @pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: "])
    def test_many_that_ask_for_nothing_hold_up_nobody(self, host, sent):
        name, port = host.split(":")
        with contextlib.ExitStack() as open_:
            many = [(name, int(port))] * (run.MAX_CONNECTIONS + 40)
            connections = [open_.enter_context(socket.create_connection(address)) for address in many]
            for connection in connections:
                connection.sendall(sent)
            time.sleep(1)  # a tick of the server, and long before HEADER_SECONDS
            for _ in range(3):
                assert httpx.get(f"http://{host}/model").status_code == 200

    def test_one_that_asks_for_nothing_is_dropped_in_the_end(self, host, monkeypatch):
        monkeypatch.setattr(run, "HEADER_SECONDS", 0.2)
        name, port = host.split(":")
        request = f"GET /model HTTP/1.1\r\nHost: {host}\r\n".encode()
        for sent in (b"", request, request + b"\r\n" + request):  # the last after an answer
            with socket.create_connection((name, int(port)), timeout=20) as connection:
                connection.sendall(sent)
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(10_000):
                        pass


class TestLive:
    def test_frames_are_answered_in_order(self, host, face):
        async def talk():
            async with connected(host) as client:
                return [await asked_of(client, data) for data in (face, BLANK, b"garbage", b"", face)]

        answers = asyncio.run(talk())
        assert [answer["status"] for answer in answers] == ["ok", "no_face", "decode_error", "decode_error", "ok"]
        assert answers[0] == answers[4] and len(answers[0]["landmarks"]) == 478

    def test_a_frame_that_kills_is_answered_and_the_connection_lives(self, host, face, monkeypatch):
        long = encoded(np.zeros((1, 40_000, 3), np.uint8), "PNG")

        async def talk():
            async with connected(host) as client:
                answers = [await asked_of(client, long)]
                with monkeypatch.context() as patch:
                    patch.setattr(readers, "measure", end_process)
                    answers.append(await asked_of(client, face))
                return [*answers, await asked_of(client, face)]

        assert [answer["status"] for answer in asyncio.run(talk())] == ["no_face", "decode_error", "ok"]

    @pytest.mark.parametrize(
        "text",
        ["", "hello", "[]", "null", '{"neutral": 3}', '{"other": "take"}', "[" * 100_000, '{"neutral": "unknown"}'],
    )
    def test_a_message_that_is_no_command_is_answered_and_the_connection_lives(self, host, face, text):
        async def talk():
            async with connected(host) as client:
                return await asked_of(client, text), await asked_of(client, face)

        error, answer = asyncio.run(talk())
        assert error["kind"] == "error" and answer["status"] == "ok"

    def test_a_message_that_is_too_large_ends_the_connection(self, host):
        async def talk():
            async with connected(host) as client:
                await client.send(bytes(MAX_MESSAGE_BYTES + 1))
                await client.recv()

        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            asyncio.run(talk())
        assert closed.value.rcvd.code == 1009

    def test_one_page_too_many_is_told_so_and_comes_in_when_another_has_gone(self, host, face, monkeypatch):
        monkeypatch.setattr(clients, "MAX_CLIENTS", 2)

        async def talk():
            async with connected(host) as first:
                await asked_of(first, BLANK)
                async with connected(host) as second:
                    await asked_of(second, BLANK)
                    async with connected(host) as third:
                        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                            await third.recv()
                        assert closed.value.rcvd.code == 1013
                return await asked_when_there_is_room(host, face)

        assert asyncio.run(talk())["status"] == "ok"

    def test_a_client_that_floods_and_reads_nothing_does_not_hold_up_another(self, host, face):
        async def flood(client):
            with contextlib.suppress(websockets.exceptions.ConnectionClosed):
                while True:
                    await client.send(face)

        async def talk():
            async with connected(host, max_queue=1) as bad, connected(host) as good:
                flooding = asyncio.create_task(flood(bad))
                await asyncio.sleep(0.3)
                answers = [await asked_of(good, face) for _ in range(10)]
                flooding.cancel()
                bad.transport.abort()
                return answers

        assert all(answer["status"] == "ok" for answer in asyncio.run(talk()))

    def test_a_client_is_held_to_a_pace(self, host, monkeypatch):
        monkeypatch.setattr(clients, "FRAMES_PER_SECOND", 20)
        monkeypatch.setattr(clients, "BURST", 2)

        async def talk():
            async with connected(host) as client:
                begin = asyncio.get_running_loop().time()
                for _ in range(12):
                    await asked_of(client, BLANK)
                return asyncio.get_running_loop().time() - begin

        assert asyncio.run(talk()) > 9 / 20 * 0.9  # a bound from below: no machine is too slow for it

    def test_an_idle_client_is_let_go_and_told_that_it_is_no_failure(self, host, monkeypatch):
        monkeypatch.setattr(clients, "IDLE_SECONDS", 0.2)

        async def talk():
            async with connected(host) as client:
                await asyncio.wait_for(client.recv(), 20)

        with pytest.raises(websockets.exceptions.ConnectionClosedOK) as closed:
            asyncio.run(talk())
        assert closed.value.rcvd.reason == "idle"

    def test_a_client_that_goes_while_its_frame_is_judged_leaves_its_place(self, host, face, monkeypatch):
        monkeypatch.setattr(clients, "MAX_CLIENTS", 1)

        async def talk():
            async with connected(host) as client:
                await client.send(face)
                client.transport.abort()
            return await asked_when_there_is_room(host, face)

        assert asyncio.run(talk())["status"] == "ok"

    def test_a_frame_of_too_many_pixels_is_never_decoded(self, host):
        async def talk():
            async with connected(host) as client:
                return [await asked_of(client, data) for data in (claiming(60_000, 60_000), claiming(2001, 2000))]

        for answer in asyncio.run(talk()):
            assert answer["status"] == "decode_error" and "above the bound of 4000000" in answer["error"]

    def test_the_frames_of_some_seconds_become_the_neutral_face(self, person_host, face, monkeypatch):
        monkeypatch.setattr("faceemo.server.session.NEUTRAL_SECONDS", 0.3)
        other = jpeg(camera_frames("anxious")[10])

        async def take(client, data):
            """Send frames until the neutral face is complete; every frame is answered once as well."""
            await client.send('{"neutral": "take"}')
            await client.send(data)
            while (answer := json.loads(await client.recv()))["kind"] == "frame":
                await client.send(data)
            await client.recv()  # of the frame that was on its way
            return answer

        async def talk():
            async with connected(person_host) as client:
                before = [await asked_of(client, face)]
                missed = await take(client, BLANK)
            async with connected(person_host) as client:
                taken = await take(client, face)
                after = await asked_of(client, other)
            async with connected(person_host) as client:
                before.append(await asked_of(client, other))
                await client.send(json.dumps({"neutral": taken["neutral"]}))
                again = await asked_of(client, other)
            return before, missed, taken, after, again

        before, missed, taken, after, again = asyncio.run(talk())
        for answer in before:  # the face is there, and nothing is said of it
            assert answer["status"] == "no_baseline" and len(answer["landmarks"]) == 478
            assert answer["label"] is answer["probabilities"] is answer["neutral_landmarks"] is None
        assert missed["faces"] == 0 and missed["neutral"] is None
        assert taken["faces"] > 0 and taken["neutral"]
        assert after["status"] == "ok" and after["label"]
        assert np.abs(np.array(after["neutral_landmarks"]) - after["landmarks"]).max() > 1
        assert after == again  # after a reconnect the token brings it back


def test_a_model_that_cannot_judge_says_so_in_every_answer(face, capfd):
    trained = random_model()
    for name, weights in trained.state_dict.items():
        if "running" not in name and weights.is_floating_point():
            weights.mul_(1e30)  # finite, but no more so behind a layer or two

    async def live(host):
        async with connected(host) as client:
            return [await asked_of(client, face) for _ in range(2)]

    with serving(trained) as host:
        answers = [httpx.post(f"http://{host}/predict{query}", content=face) for query in ("", "?faces=all")]
        frames = asyncio.run(live(host))
    for answer in (*(answer.json() for answer in answers), *frames):
        assert answer["status"] == "model_error" and "not finite numbers; train it again" in answer["error"]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert "Traceback" not in capfd.readouterr().err


def test_nothing_is_stored(face, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    async def talk(host):
        async with connected(host) as client:
            await asked_of(client, face)

    with running() as host:
        large = face + bytes(3_000_000)  # what comes behind a JPEG is no part of it
        assert httpx.post(f"http://{host}/predict", content=large).json()["status"] == "ok"
        asyncio.run(talk(host))
    assert list(tmp_path.iterdir()) == []


class TestCommand:
    @pytest.fixture
    def model(self, tmp_path):
        save_model(tmp_path / "emotion.pt", random_model())
        (tmp_path / "params.yaml").write_text("lr: [somebody's\n", encoding="utf-8")  # nothing to it
        return tmp_path / "emotion.pt"

    def start(self, model, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "faceemo.cli", "serve", "--model", str(model), *arguments],
            cwd=model.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            preexec_fn=None if WINDOWS else heed_ctrl_c,
        )

    @needs_posix("sends signals")
    def test_ctrl_c_ends_it_in_one_line_with_a_page_open(self, model, face):
        with self.start(model, "--port", "0") as process:
            line = process.stdout.readline()
            host = line.split()[0].removeprefix("http://").rstrip("/")

            async def talk():
                async with connected(host) as client:
                    assert (await asked_of(client, face))["status"] == "ok"
                    os.killpg(process.pid, signal.SIGINT)
                    with contextlib.suppress(websockets.exceptions.ConnectionClosed):
                        await client.recv()

            asyncio.run(talk())
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (130, "", "faceemo: interrupted\n")
        assert "Ctrl-C ends it" in line

    def test_a_port_that_is_taken_is_said(self):
        with (
            listen(0) as listener,
            pytest.raises(FaceemoError, match=r"^port \d+ cannot be used \(.*\); --port 0 takes"),
        ):
            listen(listener.getsockname()[1])

    @pytest.mark.parametrize("port", [-1, 70_000])
    def test_a_port_that_is_none_is_said(self, port):
        with pytest.raises(FaceemoError, match=rf"port {port}"):
            listen(port)

    def test_a_missing_model_is_one_line(self, tmp_path):
        with pytest.raises(FaceemoError, match="no such model"):
            serve(tmp_path / "none.pt", 0)

    def test_missing_packages_are_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "fastapi", None)
        for name in ("run", "app", "clients"):
            monkeypatch.delitem(sys.modules, f"faceemo.server.{name}")
        with pytest.raises(FaceemoError, match="serve needs FastAPI: python -m pip install"):
            importlib.import_module("faceemo.server.run")
