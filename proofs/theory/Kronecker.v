(** A matrix along one axis of an array: the rule [separable].

    An array of shape (before, n, after) lies in memory as x[(b n + j) after + a]. A matrix A of m rows along its middle axis has
    the norm of A itself; matrices along several axes, one after the other, have at most the product of their norms. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz.
Open Scope R_scope.

(** y[b, i, a] = sum_j A i j x[b, j, a]. *)
Definition along (n m after : nat) (A : mat) (x : vec) : vec := fun k =>
  apply n A (fun j => x ((k / (m * after) * n + j) * after + k mod after)%nat) (k / after mod m).

(** The square of an array's norm, axis by axis. *)
Lemma square_axes before n after x :
  square (before * n * after) x
  = sum before (fun b => sum after (fun a => square n (fun j => x ((b * n + j) * after + a)%nat))).
Proof.
  unfold square, dot. rewrite sum_blocks, sum_blocks. apply sum_ext; intros b _. rewrite sum_swap. reflexivity.
Qed.

Lemma rest_of_block b n i : (i < n)%nat -> ((b * n + i) mod n)%nat = i.
Proof. intros below. symmetry. apply Nat.mod_unique with b; lia. Qed.

Lemma number_of_block b n i : (i < n)%nat -> ((b * n + i) / n)%nat = b.
Proof. intros below. symmetry. apply Nat.div_unique with i; lia. Qed.

Lemma along_entry n m after A x (b i a : nat) : (i < m)%nat -> (a < after)%nat ->
  along n m after A x ((b * m + i) * after + a)%nat = apply n A (fun j => x ((b * n + j) * after + a)%nat) i.
Proof.
  intros Hi Ha. unfold along.
  rewrite (rest_of_block (b * m + i) after a Ha), (number_of_block (b * m + i) after a Ha), (rest_of_block b m i Hi).
  replace (((b * m + i) * after + a) / (m * after))%nat with b; [reflexivity|].
  rewrite (Nat.mul_comm m after), <- Nat.div_div, (number_of_block (b * m + i) after a Ha) by lia.
  symmetry. apply number_of_block, Hi.
Qed.

Theorem along_bounded before n m after A s x :
  bounded n m A s -> square (before * m * after) (along n m after A x) <= s * square (before * n * after) x.
Proof.
  intros known. rewrite !square_axes, <- sum_scal. apply sum_le; intros b _. rewrite <- sum_scal.
  apply sum_le; intros a Ha.
  rewrite (square_ext m _ (apply n A (fun j => x ((b * n + j) * after + a)%nat)))
    by (intros i Hi; apply along_entry; assumption).
  apply known.
Qed.

(** Two axes, and a scale c: at most the product of the squares. *)
Corollary separable_bounded n m A s c u v t (outer : vec -> vec) x :
  0 <= u -> (forall y, square v (outer y) <= u * square m y) -> bounded n m A s -> c ^ 2 * (u * s) <= t ->
  square v (vscal c (outer (apply n A x))) <= t * square n x.
Proof.
  intros nonneg known_outer known below. rewrite square_scal. pose proof (square_nonneg n x) as Hx.
  pose proof (known_outer (apply n A x)) as first. pose proof (known x) as second.
  assert (square v (outer (apply n A x)) <= u * (s * square n x)).
  { eapply Rle_trans; [exact first|]. apply Rmult_le_compat_l; assumption. }
  assert (c ^ 2 * square v (outer (apply n A x)) <= c ^ 2 * (u * (s * square n x)))
    by (apply Rmult_le_compat_l; [apply pow2_ge_0 | assumption]).
  assert (c ^ 2 * (u * s) * square n x <= t * square n x) by (apply Rmult_le_compat_r; assumption). lra.
Qed.
