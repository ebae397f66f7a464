/** Asking the desk's API. Everything that changes something carries the page's token. */

import { logInAgain } from "./relogin.js";

const BASE = "/api/desk";

/** {status, body}: the HTTP status, 0 where no answer came; the JSON that came, else null. */
export async function ask(path, { method = "GET", send, signal } = {}) {
  const headers = {};
  if (method !== "GET") headers["X-CSRF-Token"] = document.querySelector('meta[name="csrf"]')?.content ?? "";
  if (send !== undefined) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(BASE + path, {
      method, headers, signal, credentials: "same-origin",
      body: send === undefined ? undefined : JSON.stringify(send),
    });
    if (answer.status === 401) logInAgain();
    return { status: answer.status, body: await answer.json().catch(() => null) };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { status: 0, body: null };
  }
}

export function post(path, send) {
  return ask(path, { method: "POST", send });
}

export function isGood({ status }) {
  return status >= 200 && status < 300;
}

/** What went wrong, for people. */
export function troubleText({ status, body }) {
  if (status === 0) return "连不上服务器，没有保存；请检查网络后再试一次";
  if (status === 401) return "登录已过期，正在转到登录页";
  return body?.message ?? `服务器没有接受（${status}）`;
}
