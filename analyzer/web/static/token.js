/** The door. Without this script the form works too, but a wrong token is not named and the page asked for is lost. */

import { byId, write } from "./dom.js";

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  write(byId("wrong"), "");
  const sent = new URLSearchParams({ token: byId("token").value.trim() });
  const answer = await fetch("/token", { method: "POST", body: sent }).catch(() => null);
  if (answer?.ok) location.replace(location.pathname === "/token" ? "/" : location.href);
  else write(byId("wrong"), answer?.status === 401 ? "✗ 令牌不对，请重新输入" : "✗ 连接不上服务器，请稍后再试");
});
