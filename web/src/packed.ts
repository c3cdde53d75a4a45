/** WebAssembly as it lies beside the page: packed by gzip, whatever its host does. */

/** The bytes behind an address that ends in .gz; some hosts say what it is, and then the browser has unpacked it. */
export async function unpacked(address: URL): Promise<ArrayBuffer> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address.pathname.split("/").pop()}: ${answer.status}`);
  const bytes = await answer.arrayBuffer();
  if (new Uint8Array(bytes)[0] !== 0x1f) return bytes;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
