/** Files that are dropped on the page. */

/** All files of what was dropped, folders walked one level deep. */
async function filesOf(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files: File[] = [];
  for (const entry of entries) {
    const inside = entry.isDirectory
      ? await new Promise<FileSystemEntry[]>((done, failed) => (entry as FileSystemDirectoryEntry).createReader().readEntries(done, failed))
      : [entry];
    for (const one of inside.filter((found) => found.isFile)) {
      files.push(await new Promise<File>((done, failed) => (one as FileSystemFileEntry).file(done, failed)));
    }
  }
  return files;
}

/** Gives `opened` what is dropped anywhere on the page; `stage` shows that it may be. */
export function takeDropped(stage: HTMLElement, opened: (files: File[]) => void): void {
  document.ondragover = (event) => {
    event.preventDefault();
    stage.classList.add("dropping");
  };
  document.ondragleave = () => stage.classList.remove("dropping");
  document.ondrop = async (event) => {
    event.preventDefault();
    stage.classList.remove("dropping");
    if (event.dataTransfer) opened(await filesOf(event.dataTransfer));
  };
}
