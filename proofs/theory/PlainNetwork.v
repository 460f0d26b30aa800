(** LipSDP-Neuron for plain networks: W_l sigma(... sigma(W_0 x + b_0) ...) + c, slopes in [0, 1].

    P = W_l^T W_l before the last layer, then backwards P = W^T T (2 T - P+)^+ T W. With L^2 I >= P at the input the
    network has the Lipschitz constant L from l2 to l2.

    Not said: which T is best, that the bound is attained, and what Storage.v and Chain.v do not say. *)

From Coq Require Import Arith Reals List Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Forms Storage Chain.
Import ListNotations.
Open Scope R_scope.

(** ** One layer *)

(** sigma(W x + b): no skip, the outer matrix the identity. *)
Definition dense (n m : nat) (W : mat) (b : vec) (sigma : nat -> R -> R) : block :=
  Block n m m zero_matrix identity W b vzero sigma.

(** W x + c: no neurons. *)
Definition affine (n m : nat) (W : mat) (c : vec) : block :=
  Block n 0 m W zero_matrix zero_matrix vzero c (fun _ q => q).

Lemma evaluate_dense n m W b sigma x i :
  (i < m)%nat -> evaluate (dense n m W b sigma) x i = sigma i (apply n W x i + b i).
Proof.
  intros below. unfold evaluate, dense, vplus, vzero. cbn [inputs hidden skip outer inner bias offset activation].
  rewrite apply_zero_matrix, apply_identity by exact below. ring.
Qed.

Lemma evaluate_affine n m W c x i : evaluate (affine n m W c) x i = apply n W x i + c i.
Proof.
  change (apply n W x i + 0 + c i = apply n W x i + c i). ring.
Qed.

(** 2 T - P+. *)
Definition plain_gap (t : vec) (after : mat) : mat := fun i j => 2 * t i * identity i j - after i j.

Lemma symmetric_plain_gap m t after : symmetric m after -> symmetric m (plain_gap t after).
Proof.
  intros same i j below_i below_j. unfold plain_gap. rewrite (same i j) by assumption. f_equal. unfold identity.
  destruct (Nat.eqb_spec i j) as [->|other]; [rewrite Nat.eqb_refl; ring|].
  destruct (Nat.eqb_spec j i); [congruence | ring].
Qed.

(** D = 2 T - P+ positive semidefinite and D X = T W: P = X^T D X is a storage before sigma(W x + b). *)
Theorem dense_dissipative n m W b sigma t X after :
  (forall i, (i < m)%nat -> slopes 0 1 (sigma i)) -> (forall i, (i < m)%nat -> 0 <= t i) -> symmetric m after ->
  positive m (plain_gap t after) ->
  (forall i j, (i < m)%nat -> (j < n)%nat -> product m (plain_gap t after) X i j = t i * W i j) ->
  dissipative (dense n m W b sigma) (sandwich m X (plain_gap t after) X) after.
Proof.
  intros gates nonneg same above solved. set (f := dense n m W b sigma).
  assert (forall i j, (i < m)%nat -> (j < m)%nat -> gap f t after i j = plain_gap t after i j) as gap_entry.
  { intros i j below_i below_j. unfold gap, plain_gap. simpl. rewrite sandwich_identity by assumption. reflexivity. }
  apply dissipative_ext with (storage f t X after).
  - intros d. rewrite form_storage, (form_sandwich (inputs f)). simpl.
    rewrite (form_zero m after) by (intros i _; apply apply_zero_matrix).
    rewrite (form_matrix_ext m _ _ _ gap_entry). ring.
  - apply storage_dissipative; try assumption; simpl.
    + intros v. simpl. rewrite (form_matrix_ext m _ _ _ gap_entry). apply above.
    + intros i j below_i below_j. unfold coupling. simpl in *.
      rewrite sandwich_zero_r, Rplus_0_l, <- solved by assumption.
      apply product_ext; [|reflexivity]. intros l below. apply gap_entry; assumption.
Qed.

(** W^T P+ W is a storage before W x + c. *)
Lemma affine_dissipative n m W c after : dissipative (affine n m W c) (sandwich m W after W) after.
Proof.
  intros x y. rewrite (form_sandwich (inputs (affine n m W c))). simpl.
  rewrite (form_ext m after _ (apply n W (vminus x y))); [lra|].
  intros i _. unfold vminus at 1. rewrite !evaluate_affine, apply_minus. ring.
Qed.

(** ** The network *)

(** sigma(W x + b) with its multipliers T and X, D X = T W. *)
Record neurons := Neurons {
  width : nat; weight : mat; threshold : vec; response : nat -> R -> R;  (** neurons, W, b, sigma *)
  dense_multiplier : vec; dense_solution : mat  (** T, X *)
}.

(** W sigma(... ) + c from n inputs. *)
Fixpoint network (n : nat) (l : list neurons) (W : mat) (c x : vec) : vec :=
  match l with
  | [] => vplus (apply n W x) c
  | s :: rest => network (width s) rest W c (fun i => response s i (apply n (weight s) x i + threshold s i))
  end.

Fixpoint plain_storage (m : nat) (l : list neurons) (W : mat) : mat :=
  match l with
  | [] => sandwich m W identity W
  | s :: rest => let D := plain_gap (dense_multiplier s) (plain_storage m rest W) in
      sandwich (width s) (dense_solution s) D (dense_solution s)
  end.

(** Slopes in [0, 1], T >= 0, D = 2 T - P+ positive semidefinite and D X = T W at every layer. *)
Fixpoint plain_feasible (n m : nat) (l : list neurons) (W : mat) : Prop :=
  match l with
  | [] => True
  | s :: rest => let D := plain_gap (dense_multiplier s) (plain_storage m rest W) in
      (forall i, (i < width s)%nat -> slopes 0 1 (response s i)) /\
      (forall i, (i < width s)%nat -> 0 <= dense_multiplier s i) /\ positive (width s) D /\
      (forall i j, (i < width s)%nat -> (j < n)%nat ->
        product (width s) D (dense_solution s) i j = dense_multiplier s i * weight s i j) /\
      plain_feasible (width s) m rest W
  end.

Fixpoint plain_blocks (n m : nat) (l : list neurons) (W : mat) (c : vec) : list block :=
  match l with
  | [] => [affine n m W c]
  | s :: rest => dense n (width s) (weight s) (threshold s) (response s) :: plain_blocks (width s) m rest W c
  end.

Lemma network_ext n l W c x y i :
  (forall j, (j < n)%nat -> x j = y j) -> network n l W c x i = network n l W c y i.
Proof.
  revert n x y. induction l as [|s rest IH]; simpl; intros n x y same.
  - unfold vplus. f_equal. apply apply_ext, same.
  - apply IH. intros j _. rewrite (apply_ext n (weight s) x y j same). reflexivity.
Qed.

Lemma run_plain n m l W c x i : run (plain_blocks n m l W c) x i = network n l W c x i.
Proof.
  revert n x. induction l as [|s rest IH]; intros n x.
  - apply evaluate_affine.
  - simpl. rewrite IH. apply network_ext. intros j below. apply evaluate_dense, below.
Qed.

Lemma plain_storage_symmetric n m l W : symmetric n (plain_storage m l W).
Proof.
  revert n. induction l as [|s rest IH]; intros n; simpl; apply symmetric_sandwich.
  - apply symmetric_identity.
  - apply symmetric_plain_gap, IH.
Qed.

Lemma plain_dissipative n m l W c :
  plain_feasible n m l W -> dissipative_chain (plain_storage m l W) n (plain_blocks n m l W c) m.
Proof.
  revert n. induction l as [|s rest IH]; intros n feasible.
  - apply (chain_block (affine n m W c) _ identity); [apply affine_dissipative | constructor].
  - destruct feasible as (gates & nonneg & above & solved & others).
    apply (chain_block (dense n (width s) (weight s) (threshold s) (response s)) _ (plain_storage m rest W)).
    + apply dense_dissipative; try assumption. apply plain_storage_symmetric.
    + apply IH, others.
Qed.

(** Storage at most L^2 I at the input: the plain network has the constant L. *)
Theorem lipschitz_plain n m l W c L :
  plain_feasible n m l W -> 0 <= L -> (forall d, form n (plain_storage m l W) d <= L ^ 2 * square n d) ->
  lipschitz n m L (network n l W c).
Proof.
  intros feasible nonneg below. apply lipschitz_ext with (run (plain_blocks n m l W c)).
  - intros x i _. apply run_plain.
  - apply lipschitz_dissipative_chain with (plain_storage m l W); [apply plain_dissipative | |]; assumption.
Qed.
