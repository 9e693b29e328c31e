// ---- columns: the numbers of the page's data ---------------------------------------------------

const TYPES = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: Float64Array };

// A column was written as little-endian bytes, which is how every browser keeps its arrays.
function decoded(column) {
  const text = atob(column.base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return new TYPES[column.size](bytes.buffer);
}

const percent = (part, whole) => (whole ? (100 * part) / whole : 0).toFixed(2) + " %";
const grouped = (number) => number.toLocaleString("en");
const byId = (id) => document.getElementById(id);
