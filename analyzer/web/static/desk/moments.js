/** Moments of the clock and lengths of time as people read them. Pure but for the reader's time zone. */

const DAY_MS = 86_400_000;

/** "10-12 09:30" of this year, with the year otherwise; "" of nothing. As the server's pages write it. */
export function moment(iso, now = new Date()) {
  if (!iso) return "";
  const at = new Date(iso);
  const two = (number) => String(number).padStart(2, "0");
  const text = `${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
  return at.getFullYear() === now.getFullYear() ? text : `${at.getFullYear()}-${text}`;
}

/** How long until a deadline, to the nearest day, hour or minute: {text, isOver, isSoon}. */
export function untilText(iso, now = new Date()) {
  const leftMs = new Date(iso) - now;
  const isOver = leftMs < 0;
  const minutes = Math.round(Math.abs(leftMs) / 60_000);
  const hours = Math.round(minutes / 60);
  const amount = hours >= 48 ? `${Math.round(hours / 24)} 天` : minutes >= 60 ? `${hours} 小时` : `${minutes} 分钟`;
  return { text: isOver ? `已过 ${amount}` : `还剩 ${amount}`, isOver, isSoon: !isOver && leftMs < DAY_MS };
}
