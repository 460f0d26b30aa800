(** Diagonal dominance, and what it proves of a norm.

    A symmetric matrix that is diagonally dominant with a diagonal >= 0 is positive semidefinite; so is its sum with a
    Gram matrix U U^T. Hence T I - R R^T is, as soon as T I - R R^T - U U^T is dominant for some U, and then ||R||^2 <= T.
    How U was found does not matter. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors.
Open Scope R_scope.

(** x^T S x. *)
Definition form (n : nat) (S : mat) (x : vec) : R := dot n x (apply n S x).

Definition semidefinite (n : nat) (S : mat) : Prop := forall x, 0 <= form n S x.
Definition symmetric (n : nat) (S : mat) : Prop := forall i j, (i < n)%nat -> (j < n)%nat -> S i j = S j i.

(** R R^T for R of n rows of length k. *)
Definition gram (k : nat) (R : mat) : mat := fun i j => dot k (R i) (R j).

Lemma form_double_sum n S x : form n S x = sum n (fun i => sum n (fun j => S i j * (x i * x j))).
Proof.
  unfold form, apply, dot. apply sum_ext; intros i _. rewrite <- sum_scal. apply sum_ext; intros j _. ring.
Qed.

Lemma form_plus n S T x : form n (fun i j => S i j + T i j) x = form n S x + form n T x.
Proof.
  rewrite !form_double_sum, <- sum_plus. apply sum_ext; intros i _.
  rewrite <- sum_plus. apply sum_ext; intros j _. ring.
Qed.

Lemma form_scal n c S x : form n (fun i j => c * S i j) x = c * form n S x.
Proof.
  rewrite !form_double_sum, <- sum_scal. apply sum_ext; intros i _.
  rewrite <- sum_scal. apply sum_ext; intros j _. ring.
Qed.

(** x^T R R^T x = |R^T x|^2. *)
Lemma form_gram n k R x : form n (gram k R) x = square k (apply n (transpose R) x).
Proof.
  unfold square. rewrite (adjoint n k (transpose R)). unfold form, transpose.
  apply dot_ext; [reflexivity|]. intros i _. unfold apply, gram, dot.
  rewrite (sum_ext n _ (fun j => sum k (fun l => R i l * R j l * x j)))
    by (intros j _; rewrite sum_scal_r; reflexivity).
  rewrite sum_swap. apply sum_ext; intros l _. rewrite <- sum_scal. apply sum_ext; intros j _. ring.
Qed.

Lemma gram_semidefinite n k R : semidefinite n (gram k R).
Proof. intros x. rewrite form_gram. apply square_nonneg. Qed.

(** |x_i x_j| <= (x_i^2 + x_j^2) / 2. *)
Lemma product_bound a s t : Rabs (a * (s * t)) <= Rabs a * ((s * s + t * t) / 2).
Proof.
  rewrite Rabs_mult. apply Rmult_le_compat_l; [apply Rabs_pos|].
  pose proof (Rle_0_sqr (s - t)). pose proof (Rle_0_sqr (s + t)). unfold Rsqr in *. apply Rabs_le. lra.
Qed.

(** For symmetric S: sum_ij |S_ij| (x_i^2 + x_j^2) / 2 = sum_i x_i^2 sum_j |S_ij|. *)
Lemma symmetric_sum n S x :
  symmetric n S ->
  sum n (fun i => sum n (fun j => Rabs (S i j) * ((x i * x i + x j * x j) / 2)))
  = sum n (fun i => x i * x i * sum n (fun j => Rabs (S i j))).
Proof.
  intros sym.
  assert (sum n (fun i => sum n (fun j => Rabs (S i j) * (x j * x j / 2)))
    = sum n (fun i => x i * x i / 2 * sum n (fun j => Rabs (S i j)))) as swapped.
  { rewrite sum_swap. apply sum_ext; intros j Hj. rewrite <- sum_scal. apply sum_ext; intros i Hi.
    rewrite (sym i j Hi Hj). ring. }
  rewrite (sum_ext n _ (fun i =>
    x i * x i / 2 * sum n (fun j => Rabs (S i j)) + sum n (fun j => Rabs (S i j) * (x j * x j / 2)))).
  - rewrite sum_plus, swapped, <- sum_plus. apply sum_ext; intros i _. field.
  - intros i _. rewrite <- sum_scal, <- sum_plus. apply sum_ext; intros j _. field.
Qed.

(** A symmetric matrix whose rows have absolute sums of at most t is at most t I. *)
Theorem row_sums_bound n S t x :
  symmetric n S -> (forall i, (i < n)%nat -> sum n (fun j => Rabs (S i j)) <= t) -> form n S x <= t * square n x.
Proof.
  intros sym rows. rewrite form_double_sum.
  apply Rle_trans with (sum n (fun i => x i * x i * sum n (fun j => Rabs (S i j)))).
  - rewrite <- symmetric_sum by exact sym. apply sum_le; intros i _. apply sum_le; intros j _.
    eapply Rle_trans; [apply Rle_abs | apply product_bound].
  - unfold square, dot. rewrite <- sum_scal. apply sum_le; intros i below.
    specialize (rows i below). pose proof (Rle_0_sqr (x i)). unfold Rsqr in *. nra.
Qed.

(** The diagonal is at least the sum of the other entries of its row, in magnitude: in particular it is >= 0. *)
Definition dominant (n : nat) (S : mat) : Prop :=
  forall i, (i < n)%nat -> sum n (fun j => if Nat.eqb i j then 0 else Rabs (S i j)) <= S i i.

Theorem dominance_semidefinite n S : symmetric n S -> dominant n S -> semidefinite n S.
Proof.
  intros sym dom x.
  set (off i j := if Nat.eqb i j then 0 else - S i j).
  assert (symmetric n off) as off_symmetric.
  { intros i j Hi Hj. unfold off. rewrite (Nat.eqb_sym i j). destruct (Nat.eqb j i); [reflexivity|].
    rewrite sym by assumption. reflexivity. }
  assert (form n S x = sum n (fun i => S i i * (x i * x i)) - form n off x) as split.
  { rewrite !form_double_sum, <- sum_minus. apply sum_ext; intros i Hi.
    apply Rplus_eq_reg_r with (sum n (fun j => off i j * (x i * x j))). rewrite <- sum_plus.
    rewrite (sum_only n _ i Hi); unfold off; [rewrite Nat.eqb_refl; ring|].
    intros j _ other. destruct (Nat.eqb_spec i j) as [same|_]; [congruence | ring]. }
  assert (form n off x <= sum n (fun i => S i i * (x i * x i))); [|lra].
  rewrite form_double_sum.
  apply Rle_trans with (sum n (fun i => x i * x i * sum n (fun j => Rabs (off i j)))).
  - rewrite <- symmetric_sum by exact off_symmetric. apply sum_le; intros i _. apply sum_le; intros j _.
    eapply Rle_trans; [apply Rle_abs | apply product_bound].
  - apply sum_le; intros i Hi. rewrite (Rmult_comm (S i i)). apply Rmult_le_compat_l; [apply Rle_0_sqr|].
    eapply Rle_trans; [|apply (dom i Hi)]. right. apply sum_ext; intros j _. unfold off.
    destruct (Nat.eqb i j); [apply Rabs_R0 | apply Rabs_Ropp].
Qed.

(** Gram plus dominance: S is semidefinite if S - U U^T is dominant. *)
Corollary gram_dominance_semidefinite n k S U :
  symmetric n S -> dominant n (fun i j => S i j - gram k U i j) -> semidefinite n S.
Proof.
  intros sym dom x.
  assert (semidefinite n (fun i j => S i j - gram k U i j)) as rest.
  { apply dominance_semidefinite; [|exact dom]. intros i j Hi Hj. unfold gram.
    rewrite (sym i j Hi Hj), (dot_sym k (U i)). reflexivity. }
  specialize (rest x). pose proof (gram_semidefinite n k U x).
  replace (form n S x) with (form n (fun i j => S i j - gram k U i j) x + form n (gram k U) x); [lra|].
  rewrite <- form_plus, !form_double_sum. apply sum_ext; intros i _. apply sum_ext; intros j _. ring.
Qed.

(** If the rows of R R^T + U U^T have absolute sums of at most t, then ||R||^2 <= t, R of n rows of length k. *)
Theorem gram_row_sums_bound n k l R U t :
  0 <= t -> (forall i, (i < n)%nat -> sum n (fun j => Rabs (gram k R i j + gram l U i j)) <= t) ->
  bounded k n R t.
Proof.
  intros nonneg rows.
  apply (bounded_transpose n k (transpose R) t nonneg). intros x. rewrite <- form_gram.
  pose proof (gram_semidefinite n l U x).
  assert (form n (fun i j => gram k R i j + gram l U i j) x <= t * square n x) as whole.
  { apply row_sums_bound; [|exact rows]. intros i j _ _. unfold gram.
    rewrite (dot_sym k (R i)), (dot_sym l (U i)). reflexivity. }
  rewrite form_plus in whole. lra.
Qed.
