// What the page says, in English and Korean.

const ENGLISH = {
  tagline: "Emotion from the shape of your face",
  otherLanguage: "한국어",
  stage: "Picture",
  neutralButton: "This is my neutral face",
  neutralGive: "Give my neutral face",
  neutralAgain: "Give my neutral face again",
  choose: "Judge a picture…",
  back: "Back to the camera",
  dropHint: "or drop a picture here",
  result: "Result",
  rate: "frames a second",
  past: "The last minute",
  privacy: "Pictures stay on this computer: they go to the local process and are never stored.",
  limits: "A classifier of facial expressions can be wrong, and an expression is not a feeling.",
  api: "For programs: POST /predict",
  starting: "Starting the camera… Allow it if the browser asks.",
  noCamera: "No camera was found. You can still judge a picture.",
  cameraRefused: "The browser may not use the camera. Allow it in the address bar, or judge a picture.",
  cameraBusy: "The camera cannot be read; another program may be using it. You can still judge a picture.",
  disconnected: "The connection to faceemo is lost. Is it still running? Trying again…",
  crowded: "Too many pages are open. Close one; this page will try again.",
  noFace: "no face",
  hold: "Keep a neutral face for two seconds…",
  neutralTaken: "Your neutral face is set: the faint white mesh. What has moved from there is yellow to red, and is what is judged.",
  neutralMissed: "No face was seen in these two seconds. Please try again.",
  neutralNotNeeded: "This model judges single pictures and needs no neutral face. Yours is marked on the bars: ",
  neutralWanted: "First your neutral face: this model judges what differs from it. Look into the outline and relax your face.",
  notPicture: "This file cannot be read as a picture: ",
  failed: "The picture could not be judged: ",
  pictureNeedsNeutral: "This model compares with your neutral face. If this picture shows it, press the button; or set it with the camera.",
  summary: (seconds, shares) => `Mean of the last ${seconds} seconds: ${shares}`,
  nothing: "Nothing was judged in the last minute.",
};

const KOREAN = {
  tagline: "얼굴 모양으로 읽는 감정",
  otherLanguage: "English",
  stage: "화면",
  neutralButton: "지금이 내 무표정이에요",
  neutralGive: "무표정 보여 주기",
  neutralAgain: "무표정 다시 보여 주기",
  choose: "사진으로 해 보기…",
  back: "카메라로 돌아가기",
  dropHint: "또는 사진을 여기에 끌어다 놓으세요",
  result: "결과",
  rate: "프레임/초",
  past: "최근 1분",
  privacy: "사진은 이 컴퓨터를 떠나지 않습니다. 이 컴퓨터의 프로그램만 받아 보고, 저장하지 않습니다.",
  limits: "표정 분류는 틀릴 수 있으며, 표정이 곧 감정은 아닙니다.",
  api: "프로그램에서 쓰려면: POST /predict",
  starting: "카메라를 켜는 중… 브라우저가 물으면 허용해 주세요.",
  noCamera: "카메라를 찾지 못했습니다. 사진으로는 해 볼 수 있습니다.",
  cameraRefused: "카메라 사용이 막혀 있습니다. 주소창에서 허용하거나 사진으로 해 보세요.",
  cameraBusy: "카메라를 읽을 수 없습니다. 다른 프로그램이 쓰고 있을 수 있습니다. 사진으로는 해 볼 수 있습니다.",
  disconnected: "faceemo와 연결이 끊겼습니다. 아직 실행 중인가요? 다시 연결하는 중…",
  crowded: "열린 페이지가 너무 많습니다. 하나를 닫으면 다시 연결합니다.",
  noFace: "얼굴 없음",
  hold: "2초 동안 무표정을 지어 주세요…",
  neutralTaken: "무표정을 기억했습니다(흐린 흰색 그물). 거기서 움직인 곳은 노랑에서 빨강으로 보이고, 그 움직임으로 판단합니다.",
  neutralMissed: "2초 동안 얼굴이 보이지 않았습니다. 다시 해 보세요.",
  neutralNotNeeded: "이 모델은 사진 한 장으로 판단하므로 무표정이 필요하지 않습니다. 무표정은 막대에 표시했습니다: ",
  neutralWanted: "먼저 무표정을 보여 주세요. 이 모델은 무표정과 달라진 점으로 판단합니다. 윤곽선 안을 보고 얼굴에 힘을 빼 주세요.",
  notPicture: "사진으로 읽을 수 없는 파일입니다: ",
  failed: "사진을 판단하지 못했습니다: ",
  pictureNeedsNeutral: "이 모델은 무표정과 비교합니다. 이 사진이 무표정이면 버튼을 누르고, 아니면 카메라로 먼저 정해 주세요.",
  summary: (seconds, shares) => `최근 ${seconds}초 평균: ${shares}`,
  nothing: "최근 1분 동안 판단한 것이 없습니다.",
};

export const WORDS = { en: ENGLISH, ko: KOREAN };

/** "ko" or "en", whichever the browser's languages name first; "en" if neither. */
export function browserLanguage() {
  const first = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in WORDS);
  return first ?? "en";
}
