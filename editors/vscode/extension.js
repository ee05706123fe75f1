// Starts `dlc lsp` and connects the editor to it. Without the server the colours of the grammar are still there.
const { window, workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function activate(context) {
  const [command, ...args] = workspace.getConfiguration("dlc").get("command");
  client = new LanguageClient(
    "dlc",
    "dlc",
    { command, args },
    { documentSelector: [{ language: "dlc" }], synchronize: { fileEvents: workspace.createFileSystemWatcher("**/*.dl") } },
  );
  context.subscriptions.push(client);
  try {
    await client.start();
  } catch (problem) {
    window.showWarningMessage(`dlc: the language server did not start (${problem.message}). pip install "dlc-compiler[lsp]"`);
  }
}

function deactivate() {
  return client && client.stop();
}

module.exports = { activate, deactivate };
