#!/usr/bin/env bash
# torchmetrics 1.9.0: AUROC, which depends on ranks alone, puts logits through a sigmoid in float32 first: 20, 30, 40 and 50 tie, and 0.75 becomes 0.5. A batch within 0 to 1 goes in as it is, so the value depends on the batches.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q torchmetrics==1.9.0 torch==2.13.0 scikit-learn==1.9.1 numpy==2.4.6
"$place/venv/bin/python" - <<'PY'
import torch
from sklearn.metrics import roc_auc_score
from torchmetrics import AUROC


def area(*batches):
    metric = AUROC(task="binary")
    for logits, labels in batches:
        metric.update(torch.tensor(logits), torch.tensor(labels))
    return float(metric.compute())


logits, labels = [20.0, 30.0, 40.0, 50.0], [0, 1, 0, 1]
seen = roc_auc_score(labels, logits), area((logits, labels))
print("of 20, 30, 40, 50: scikit-learn, torchmetrics", seen)
assert seen == (0.75, 0.5)
logits, labels = [0.6, 0.5, 0.1, 2.0], [1, 0, 0, 1]
seen = roc_auc_score(labels, logits), area((logits, labels)), area((logits[::2], labels[::2]), (logits[1::2], labels[1::2]))
print("in one batch, in two: scikit-learn, torchmetrics", seen)
assert seen == (1, 1, 0.75)
PY
