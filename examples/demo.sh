#!/bin/sh
# The main job, end to end: train, export, audit, certify, check; plant a fault, see it caught, replay what shows it.
# Usage: demo.sh BIN, where BIN holds the programs python, cpl and lipverify. Everything is written below build/.
set -eu
bin=${1:-.venv/bin}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

echo "== 1. Train a 1-Lipschitz network on scikit-learn's digits, seal it, export it with its claims"
"$bin/cpl" train --data digits --out build/honest --overwrite

echo "== 2. Audit it: four verifiers, none of which shares code with the trainer"
"$bin/lipverify" audit build/honest/model.pt2 --at build/honest/inputs.npz --radius 0.03 --certificate build/honest/certificate.json

echo "== 3. Check its certificate: one file of the standard library, no package of this project or any other"
"$bin/python" -I -S proofs/checker/lipverify_checker.py build/honest/certificate.json build/honest/model.safetensors

echo "== 4. Plant a fault: one block's tensor times 1.05, the claims unchanged"
"$bin/python" examples/plant_fault.py build/honest --out build/faulty

echo "== 5. Audit that"
code=0
"$bin/lipverify" audit build/faulty/model.pt2 --at build/honest/inputs.npz --radius 0.03 --certificate build/faulty/certificate.json \
    || code=$?
[ "$code" = 1 ] || { echo "demo: the audit of the faulty model exited with $code, not 1" >&2; exit 1; }

echo "== 6. Compare the two certificates, as a pipeline would"
code=0
"$bin/lipverify" compare build/honest/certificate.json build/faulty/certificate.json || code=$?
[ "$code" = 1 ] || { echo "demo: the comparison exited with $code, not 1" >&2; exit 1; }

echo "== 7. Replay its witnesses on the model, from the report alone, and draw the report"
"$bin/lipverify" audit build/faulty/model.pt2 --verifiers spectral,witness --format json --output build/faulty/report.json \
    || [ $? = 1 ]
"$bin/lipverify" replay build/faulty/report.json build/faulty/model.pt2
"$bin/python" examples/draw_report.py build/faulty/report.json build/faulty/report.png
echo "drawn: build/faulty/report.png"
echo "demo: the honest model is PROVED layer by layer, the planted fault is REFUTED by two inputs that anyone can replay"
