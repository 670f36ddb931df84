"""The page of `faceemo serve` as people see it, with a made-up person before the camera whom training has not seen."""

import base64
import functools
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browser import ROOT, Browsers, browser, missing_browser, served
from made_models import trained_model
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from video import camera_frames, portrait, write_mjpeg

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing_browser() is not None, reason=str(missing_browser())),
]

SECONDS = 30  # for a page to get somewhere on a busy machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def browsers():
    several = Browsers()
    yield several
    several.close()


@pytest.fixture(scope="module")
def videos(folder):
    return {name: write_mjpeg(folder / f"{name}.mjpeg", camera_frames(name)) for name in ("neutral", "anxious")}


@pytest.fixture(scope="module")
def pictures(folder):
    found = {}
    for name in ("neutral", "anxious"):
        found[name] = folder / f"{name}.jpg"
        Image.fromarray(portrait(name)).save(found[name], quality=92)
    return found


@pytest.fixture(scope="module")
def url(folder):
    with served(trained_model(folder / "single")) as address:
        yield address


def element(driver, name):
    return driver.find_element(By.ID, name)


def wait(driver, condition):
    return WebDriverWait(driver, SECONDS, poll_frequency=0.1).until(condition)


def shares(driver):
    """What the bars show, in percent, or None while they show nothing."""
    texts = [one.text for one in driver.find_elements(By.CSS_SELECTOR, "#bars .percent")]
    return [int(text.rstrip("%")) for text in texts] if texts and all("%" in text for text in texts) else None


def settled(driver, label):
    """Whether the label has stood for a second, in which it is also spoken."""
    return element(driver, "spoken").get_attribute("textContent") == label == element(driver, "label").text


def console(driver):
    return [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.mark.parametrize("emotion", ["neutral", "anxious"])
def test_the_camera_is_judged_frame_by_frame(browsers, url, videos, emotion):
    with browsers(videos[emotion]) as driver:
        driver.get(url)
        wait(driver, lambda driver: settled(driver, emotion))
        wait(driver, lambda driver: element(driver, "rate").text != "–")
        assert float(element(driver, "rate").text) > 0
        assert abs(sum(shares(driver)) - 100) <= 1
        assert shares(driver)[["neutral", "anxious"].index(emotion)] > 50
        wait(driver, lambda driver: f"{emotion} " in (element(driver, "timeline").get_attribute("aria-label") or ""))
        assert painted(driver, "mesh") > 500 and painted(driver, "timeline") > 500
        assert not element(driver, "notice").is_displayed()
        assert console(driver) == []
        assert requested(driver) == {url.rstrip("/").removeprefix("http://")}


def painted(driver, canvas, left=0, right=1):
    """Pixels of a canvas that are not transparent, between these shares of its width."""
    script = """
        const [canvas, left, right] = [document.getElementById(arguments[0]), arguments[1], arguments[2]];
        const [start, width] = [Math.round(left * canvas.width), Math.round((right - left) * canvas.width)];
        const { data } = canvas.getContext("2d").getImageData(start, 0, width, canvas.height);
        return data.filter((value, place) => place % 4 === 3 && value > 0).length;
    """
    return driver.execute_script(script, canvas, left, right)


def requested(driver):
    """Hosts that the page asked for anything."""
    messages = [entry["message"] for entry in driver.get_log("performance")]
    found = re.findall(r'"(?:url|documentURL)":"(?:https?|wss?)://([^/"]+)', "".join(messages))
    return set(found)


def test_the_page_speaks_korean_where_the_browser_does_and_english_at_a_click(browsers, url, videos):
    with browsers(videos["anxious"], "ko-KR") as driver:
        driver.get(url)
        wait(driver, lambda driver: settled(driver, "불안"))
        root = driver.find_element(By.TAG_NAME, "html")
        assert root.get_attribute("lang") == "ko"
        assert "중립" in element(driver, "bars").text and "프레임" in driver.find_element(By.CLASS_NAME, "rate").text
        element(driver, "language").click()
        assert root.get_attribute("lang") == "en"
        wait(driver, lambda driver: settled(driver, "anxious"))
        assert element(driver, "neutral").text == "This is my neutral face"


def test_before_its_script_runs_the_page_says_that_it_loads_and_shows_no_button_without_words(browsers, url):
    with browsers(None) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        try:
            driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*.js"]})
            driver.get(url)
            wait(driver, lambda driver: "Loading" in element(driver, "notice").text)
            assert "불러오는 중" in element(driver, "notice").text
            assert not any(one.is_displayed() for one in driver.find_elements(By.TAG_NAME, "button"))
            assert "JavaScript" not in driver.find_element(By.TAG_NAME, "body").text
        finally:
            driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        driver.get_log("browser")  # that the script was blocked
        driver.refresh()
        wait(driver, lambda driver: "judge a picture" in element(driver, "notice").text)
        buttons = [one for one in driver.find_elements(By.TAG_NAME, "button") if one.is_displayed()]
        assert [one.text for one in buttons] == ["한국어", "This is my neutral face", "Judge a picture…"]


def test_each_korean_word_of_the_page_is_korean(browsers, url):
    script = """
        const done = arguments[0];
        import("/words.js").then(({ WORDS }) => {
          const said = (word) => typeof word === "function" ? word(30, 2) : word;
          done(Object.values(WORDS).map((words) => Object.entries(words).map(([key, word]) => [key, said(word)])));
        });
    """
    with browsers(None) as driver:
        driver.get(url)
        english, korean = map(dict, driver.execute_async_script(script))
    assert english.keys() == korean.keys()
    assert [key for key, text in korean.items() if not re.search("[가-힣]", text)] == ["otherLanguage"]
    assert [key for key, text in english.items() if re.search("[가-힣]", text)] == ["otherLanguage"]
    assert korean["ago"] == "30초 전"


def test_a_picture_is_judged_without_a_camera_and_by_keyboard_alone(browsers, url, folder, pictures):
    text = folder / "notes.jpg"
    text.write_text("no picture", encoding="utf-8")
    with browsers(None) as driver:
        driver.get(url)
        wait(driver, lambda driver: "judge a picture" in element(driver, "notice").text)
        assert reached_by_tab(driver) == ["language", "neutral", "choose", "api"]
        element(driver, "file").send_keys(str(pictures["anxious"]))
        wait(driver, lambda driver: settled(driver, "anxious"))
        assert not element(driver, "notice").is_displayed() and painted(driver, "mesh") > 500
        assert element(driver, "still").get_attribute("alt") == "anxious.jpg"
        assert reached_by_tab(driver) == ["language", "neutral", "choose", "back", "api"]
        element(driver, "back").send_keys(Keys.ENTER)
        wait(driver, lambda driver: element(driver, "label").text == "–")
        assert not element(driver, "still").is_displayed()
        element(driver, "file").send_keys(str(text))
        wait(driver, lambda driver: "cannot be read as a picture: notes.jpg" in element(driver, "note").text)


def reached_by_tab(driver):
    """Ids that Tab reaches, in order, from the top of the page."""
    driver.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(10):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        name = driver.switch_to.active_element.get_attribute("id")
        if not name or name in reached:
            break
        reached.append(name)
    return reached


def test_every_face_of_a_picture_is_drawn_and_any_can_be_chosen(browsers, url, folder):
    faces = [portrait("neutral"), portrait("anxious", 34), portrait("neutral", 32)]
    group = np.full((512, 1200, 3), 128, np.uint8)
    for index, (face, step) in enumerate(zip(faces, (1, 1, 2), strict=True)):
        part = face[::step, ::step]
        group[: part.shape[0], 400 * index : 400 * index + part.shape[1]] = part
    Image.fromarray(group).save(folder / "group.jpg", quality=92)
    with browsers(None) as driver:
        driver.get(url)
        wait(driver, lambda driver: "judge a picture" in element(driver, "notice").text)
        element(driver, "file").send_keys(str(folder / "group.jpg"))
        wait(driver, lambda driver: "3 faces, the largest is 1" in element(driver, "note").text)
        buttons = element(driver, "faces").find_elements(By.TAG_NAME, "button")
        words = [button.text for button in buttons]
        assert [text.split()[0] for text in words] == ["1", "2", "3"]
        assert sorted(text.split()[1] for text in words) == ["anxious", "neutral", "neutral"]
        assert console(driver) == []
        for left in (0, 400, 800):  # a mesh on each
            assert painted(driver, "mesh", left / 1200, (left + 350) / 1200) > 300
        anxious = next(button for button in buttons if "anxious" in button.text)
        other = next(button for button in buttons if "neutral" in button.text)
        for button, emotion in ((anxious, "anxious"), (other, "neutral")):
            button.send_keys(Keys.ENTER)
            wait(driver, lambda driver, emotion=emotion: settled(driver, emotion))
            pressed = [one.text for one in buttons if one.get_attribute("aria-pressed") == "true"]
            assert pressed == [button.text]
        element(driver, "language").click()
        assert "얼굴 3개입니다" in element(driver, "note").text and "중립" in element(driver, "faces").text
        element(driver, "back").click()
        assert not element(driver, "faces").is_displayed()


def test_a_picture_dropped_while_another_is_still_read_stays_whatever_becomes_of_that(browsers, url, pictures):
    """The first is no picture; its failure comes when the second has taken its place."""
    script = """
        const [jpeg, done] = arguments;
        const bytes = Uint8Array.from(atob(jpeg), (letter) => letter.charCodeAt(0));
        for (const [name, content] of [["first.jpg", new Uint8Array(5e6)], ["second.jpg", bytes]]) {
          const data = new DataTransfer();
          data.items.add(new File([content], name, { type: "image/jpeg" }));
          document.getElementById("view").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }
        done();
    """
    with browsers(None) as driver:
        driver.get(url)
        wait(driver, lambda driver: "judge a picture" in element(driver, "notice").text)
        driver.execute_async_script(script, base64.b64encode(pictures["anxious"].read_bytes()).decode())
        wait(driver, lambda driver: settled(driver, "anxious"))
        assert element(driver, "still").is_displayed() and element(driver, "still").get_attribute("alt") == "second.jpg"
        assert element(driver, "note").text == ""


def test_a_dropped_picture_is_judged(browsers, url, videos):
    script = """
        const done = arguments[arguments.length - 1];
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [64, 48];
        canvas.toBlob((blob) => {
          const data = new DataTransfer();
          data.items.add(new File([blob], "blank.png", { type: "image/png" }));
          document.getElementById("view").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
          done();
        });
    """
    with browsers(videos["neutral"]) as driver:
        driver.get(url)
        wait(driver, lambda driver: settled(driver, "neutral"))
        driver.execute_async_script(script)
        wait(driver, lambda driver: settled(driver, "no face"))
        assert element(driver, "still").is_displayed() and shares(driver) is None


def test_a_neutral_face_corrects_a_model_of_single_pictures_and_is_marked(browsers, url, videos):
    with browsers(videos["neutral"]) as driver:
        driver.get(url)
        wait(driver, lambda driver: settled(driver, "neutral"))
        assert not marks(driver)
        element(driver, "neutral").send_keys(Keys.ENTER)
        assert element(driver, "neutral").get_attribute("aria-disabled") == "true"
        wait(driver, lambda driver: "answers are corrected by your neutral face" in element(driver, "note").text)
        assert element(driver, "neutral").get_attribute("aria-disabled") == "false"
        assert driver.switch_to.active_element == element(driver, "neutral")
        assert len(marks(driver)) == 2
        assert re.search(r"neutral \d+%, anxious \d+%$", element(driver, "note").text)


def test_a_second_press_is_not_ended_by_the_time_of_the_first(browsers, url, videos):
    """The button is disabled for the two seconds of each taking, though the first's time for an answer is five."""
    record = """
        window.changes = [];
        new MutationObserver(([{ target }]) => {
          window.changes.push([target.ariaDisabled, performance.now()]);
        }).observe(document.getElementById("neutral"), { attributeFilter: ["aria-disabled"] });
    """
    with browsers(videos["neutral"]) as driver:
        driver.get(url)
        wait(driver, lambda driver: settled(driver, "neutral"))
        driver.execute_script(record)
        element(driver, "neutral").click()
        wait(driver, lambda driver: driver.execute_script("return performance.now() - window.changes[0][1] > 4000"))
        assert element(driver, "neutral").get_attribute("aria-disabled") == "false"
        element(driver, "neutral").click()
        ends = "return window.changes.filter(([value]) => value === 'false').length"
        wait(driver, lambda driver: driver.execute_script(ends) == 2)
        changes = driver.execute_script("return window.changes")
        assert [value for value, _ in changes] == ["true", "false", "true", "false"]
        assert changes[2][1] - changes[0][1] < 5000  # else this shows nothing
        assert changes[3][1] - changes[2][1] > 1900


def marks(driver):
    return [mark for mark in driver.find_elements(By.CSS_SELECTOR, "#bars .mark") if mark.is_displayed()]


@pytest.fixture(scope="module")
def change_url(folder):
    with served(trained_model(folder / "change", baseline="neutral")) as address:
        yield address


def test_a_model_that_judges_change_leads_to_the_neutral_face_first(browsers, change_url, pictures, videos):
    with browsers(videos["neutral"]) as driver:
        driver.get(change_url)
        wait(driver, lambda driver: "First your neutral face" in element(driver, "guide-text").text)
        wait(driver, lambda driver: driver.execute_script("return Number(document.documentElement.dataset.frames) > 2"))
        assert painted(driver, "mesh") > 500  # the face is found, and not judged
        assert element(driver, "label").text == "–" and shares(driver) is None
        assert element(driver, "give").text == "Give my neutral face" and not element(driver, "neutral").is_displayed()
        element(driver, "give").click()
        wait(driver, lambda driver: element(driver, "guide-text").text == "2")
        assert driver.switch_to.active_element == element(driver, "neutral")
        wait(driver, lambda driver: "is set" in element(driver, "note").text)
        assert not element(driver, "guide").is_displayed()
        assert element(driver, "neutral").text == "Give my neutral face again"
        wait(driver, lambda driver: settled(driver, "neutral"))
        element(driver, "neutral").send_keys(Keys.ENTER)  # again, at any time
        wait(driver, lambda driver: element(driver, "guide-text").text in ("1", "2", "3"))
        wait(driver, lambda driver: "is set" in element(driver, "note").text)
        element(driver, "file").send_keys(str(pictures["anxious"]))
        wait(driver, lambda driver: settled(driver, "anxious"))
        assert console(driver) == []


def test_it_leads_there_in_korean_too(browsers, change_url, videos):
    with browsers(videos["anxious"], "ko-KR") as driver:
        driver.get(change_url)
        wait(driver, lambda driver: "먼저 무표정을 등록해 주세요" in element(driver, "guide-text").text)
        assert element(driver, "give").text == "무표정 등록하기"
        element(driver, "give").click()
        wait(driver, lambda driver: "무표정을 등록했습니다" in element(driver, "note").text)
        assert element(driver, "neutral").text == "무표정 다시 등록하기"
        wait(driver, lambda driver: settled(driver, "중립"))


def test_where_the_face_has_moved_from_the_neutral_one_the_mesh_is_coloured(browsers, change_url, folder, videos):
    changing = write_mjpeg(folder / "changing.mjpeg", camera_frames("neutral") * 6 + camera_frames("anxious") * 6)
    with browsers(changing) as driver:
        driver.get(change_url)
        wait(driver, lambda driver: element(driver, "give").is_displayed())
        element(driver, "give").click()
        wait(driver, lambda driver: "is set" in element(driver, "note").text)
        wait(driver, lambda driver: reddish(driver) > 100)


def reddish(driver):
    """Pixels of the mesh that say that something has moved far."""
    script = """
        const canvas = document.getElementById("mesh");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) count += data[at] > 200 && data[at + 1] < 120 && data[at + 3] > 100;
        return count;
    """
    return driver.execute_script(script)


def test_after_a_lost_connection_no_frame_is_judged_without_the_neutral_face(change_url, videos):
    """The answer of /model, which tells whether the server is the same one, is slow here."""
    script = """
        window.statuses = [];
        window.sockets = [];
        window.WebSocket = class extends WebSocket {
          constructor(...address) {
            super(...address);
            window.sockets.push(this);
            this.addEventListener("message", ({ data }) => {
              if (this !== window.sockets[0]) window.statuses.push(JSON.parse(data).status);
            });
          }
        };
        const atOnce = window.fetch;
        const later = (done) => setTimeout(done, window.sockets.length > 1 ? 2000 : 0);
        window.fetch = async (...what) => (await new Promise(later), atOnce(...what));
    """
    with browser(videos["neutral"]) as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        driver.get(change_url)
        wait(driver, lambda driver: element(driver, "give").is_displayed())
        element(driver, "give").click()
        wait(driver, lambda driver: "is set" in element(driver, "note").text)
        wait(driver, lambda driver: settled(driver, "neutral"))
        driver.execute_script("window.sockets[0].close(4000)")
        wait(driver, lambda driver: driver.execute_script("return window.statuses.length > 20"))
        assert set(driver.execute_script("return window.statuses")) == {"ok"}


def test_without_a_camera_a_picture_becomes_the_baseline(browsers, change_url, pictures):
    with browsers(None) as driver:
        driver.get(change_url)
        wait(driver, lambda driver: "judge a picture" in element(driver, "notice").text)
        element(driver, "file").send_keys(str(pictures["neutral"]))
        wait(driver, lambda driver: "If this picture shows it, press the button" in element(driver, "note").text)
        element(driver, "neutral").send_keys(Keys.ENTER)
        wait(driver, lambda driver: "Your neutral face is set" in element(driver, "note").text)
        element(driver, "file").send_keys(str(pictures["anxious"]))
        wait(driver, lambda driver: settled(driver, "anxious"))


def test_a_lost_server_is_said_and_the_page_waits_for_it(browsers, folder, url, videos):
    with browsers(videos["neutral"]) as driver:
        with served(folder / "single" / "models" / "emotion.pt") as address:
            driver.get(address)
            wait(driver, lambda driver: settled(driver, "neutral"))
        wait(driver, lambda driver: "connection to faceemo is lost" in element(driver, "notice").text)
        wait(driver, lambda driver: shares(driver) is None and element(driver, "label").text == "–")


def test_the_api_can_be_tried_on_a_page_that_loads_nothing_from_elsewhere(browsers, url, pictures):
    def press(text):
        wait(driver, lambda driver: driver.find_elements(By.XPATH, f"//button[text()='{text}']"))[0].click()

    with browsers(None) as driver:
        driver.get(f"{url}docs")
        wait(driver, lambda driver: driver.find_elements(By.ID, "operations-default-predict_predict_post"))[0].click()
        press("Try it out ")
        driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(pictures["anxious"]))
        press("Execute")
        wait(driver, lambda driver: '"label": "anxious"' in driver.find_element(By.ID, "swagger-ui").text)
        assert console(driver) == []
        assert requested(driver) == {url.rstrip("/").removeprefix("http://")}


def test_the_page_of_the_docs_may_ask_where_it_was_named_and_no_other(browsers, folder, pictures, url):
    text = (ROOT / "docs/use.md").read_text(encoding="utf-8")
    page = re.search(r"```html\n(.*?)```", text, re.DOTALL)[1]
    assert page == re.search(r"```html\n(.*?)```", (ROOT / "docs/use.ko.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    own = folder / "own"
    own.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(own))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever).start()
        port = elsewhere.server_port
        origin = f"http://localhost:{port}"
        with (
            served(folder / "single" / "models" / "emotion.pt", "--allow-origin", origin) as address,
            browsers(None) as driver,
        ):
            for name, asked in (("named.html", address), ("other.html", url)):
                (own / name).write_text(page.replace("http://127.0.0.1:8000/", asked), encoding="utf-8")
            for place in (f"http://127.0.0.1:{port}/named.html", f"{origin}/other.html"):
                driver.get(place)
                element(driver, "file").send_keys(str(pictures["anxious"]))
                wait(driver, lambda driver: any("/predict" in entry["message"] for entry in console(driver)))
                assert element(driver, "answer").text == ""
            driver.get(f"{origin}/named.html")
            element(driver, "file").send_keys(str(pictures["anxious"]))
            wait(driver, lambda driver: element(driver, "answer").text.startswith("anxious {"))
        elsewhere.shutdown()
