#!/usr/bin/env bash
# scikit-learn 1.9.1: the rows of load_digits come writer by writer. The last fifth, as Keras' validation_split takes it, is harder than a shuffled fifth.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q scikit-learn==1.9.1 2>/dev/null
"$place/venv/bin/python" - <<'PY'
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

x, y = load_digits(return_X_y=True)
cut = len(y) * 4 // 5


def score(train, test):
    return KNeighborsClassifier(3).fit(x[train], y[train]).score(x[test], y[test])


rows = np.arange(len(y))
last = score(rows[:cut], rows[cut:])
shuffled = [score(*train_test_split(rows, test_size=0.2, random_state=seed)) for seed in range(20)]
print(f"three nearest neighbours: last fifth {last:.4f}, shuffled fifths {np.mean(shuffled):.4f}, the least of 20 {min(shuffled):.4f}")
# Of one image, how many of its nearest neighbours stand within 150 rows, where chance gives one in six.
near = KNeighborsClassifier(2).fit(x, y).kneighbors(x, return_distance=False)[:, 1]
close = np.mean(np.abs(near - rows) <= 150)
chance = np.mean([np.mean(np.abs(other - rows) <= 150) for other in rows])
print(f"the nearest other image is within 150 rows: {close:.3f}, by chance {chance:.3f}")
assert last < min(shuffled) and close > 2 * chance
PY
