(** The storage of one block of a network: f x = H x + A sigma(B x + b) + c, sigma of every entry, slopes in [0, 1].

    A symmetric matrix P+ measures differences after the block, P before it. The block is dissipative where
    <f x - f y, P+ (f x - f y)> <= <x - y, P (x - y)> for all x, y. For a diagonal T >= 0 that holds if the linear
    matrix inequality [lmi] does, and the least P of that inequality is, where D = 2 T - A^T P+ A is positive
    semidefinite,

      P = H^T P+ H + X^T D X,  D X = G^T = A^T P+ H + T B,     that is  P = H^T P+ H + G D^+ G^T.

    X stands for D^+ G^T; that it exists is the range condition. P+ need not be positive semidefinite.

    Not said: that some T does it, which T is best, that [lmi] is necessary for a dissipative block (it is not: it
    allows every sigma with these slopes), or how X and the sign of D are found. Multipliers that couple neurons are
    unsound, and not here. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Forms.
Open Scope R_scope.

(** ** The block *)

Record block := Block {
  inputs : nat; hidden : nat; outputs : nat;
  skip : mat;  (** H, of outputs rows and inputs columns *)
  outer : mat;  (** A, of outputs rows and hidden columns *)
  inner : mat;  (** B, of hidden rows and inputs columns *)
  bias : vec; offset : vec;  (** b and c *)
  activation : nat -> R -> R  (** sigma_i of neuron i *)
}.

(** H x + A sigma(B x + b) + c. *)
Definition evaluate (f : block) (x : vec) : vec :=
  vplus (vplus (apply (inputs f) (skip f) x)
    (apply (hidden f) (outer f) (fun i => activation f i (apply (inputs f) (inner f) x i + bias f i)))) (offset f).

(** H d + A v: the difference of two outputs, d that of the inputs and v that of the activations. *)
Definition advance (f : block) (d v : vec) : vec :=
  vplus (apply (inputs f) (skip f) d) (apply (hidden f) (outer f) v).

(** v = sigma(B x + b) - sigma(B y + b). *)
Definition firing (f : block) (x y : vec) : vec := fun i =>
  activation f i (apply (inputs f) (inner f) x i + bias f i) -
  activation f i (apply (inputs f) (inner f) y i + bias f i).

Lemma evaluate_difference f x y i :
  vminus (evaluate f x) (evaluate f y) i = advance f (vminus x y) (firing f x y) i.
Proof.
  unfold advance, vplus. rewrite apply_minus.
  change (apply (hidden f) (outer f) (firing f x y) i) with (apply (hidden f) (outer f) (vminus
    (fun i => activation f i (apply (inputs f) (inner f) x i + bias f i))
    (fun i => activation f i (apply (inputs f) (inner f) y i + bias f i))) i).
  rewrite apply_minus. unfold vminus, evaluate, vplus. ring.
Qed.

(** Every activation has slopes in [0, 1]. *)
Definition gated (f : block) : Prop := forall i, (i < hidden f)%nat -> slopes 0 1 (activation f i).

(** sum_i t_i v_i (q_i - v_i), q = B d. *)
Definition supply (f : block) (t d v : vec) : R :=
  sum (hidden f) (fun i => t i * (v i * (apply (inputs f) (inner f) d i - v i))).

(** The incremental quadratic constraint: v_i (q_i - v_i) >= 0 for v_i = s q_i with 0 <= s <= 1, hence the sum with
    T >= 0. *)
Lemma supply_nonneg f t x y :
  gated f -> (forall i, (i < hidden f)%nat -> 0 <= t i) -> 0 <= supply f t (vminus x y) (firing f x y).
Proof.
  intros gates nonneg. apply sum_nonneg; intros i below. apply Rmult_le_pos; [apply nonneg, below|].
  rewrite apply_minus. unfold firing.
  destruct (slopes_between 0 1 (activation f i) (apply (inputs f) (inner f) x i + bias f i)
    (apply (inputs f) (inner f) y i + bias f i)) as (s & between & ->); [lra | apply gates, below |].
  set (q := apply (inputs f) (inner f) x i - apply (inputs f) (inner f) y i).
  replace (s * (apply _ _ x i + bias f i - (apply _ _ y i + bias f i))) with (s * q) by (unfold q; ring).
  replace (s * q * (q - s * q)) with (s * (1 - s) * (q * q)) by ring.
  apply Rmult_le_pos; [apply Rmult_le_pos; lra | apply Rle_0_sqr].
Qed.

(** <f x - f y, P+ (f x - f y)> <= <x - y, P (x - y)> for all x, y. *)
Definition dissipative (f : block) (P after : mat) : Prop := forall x y,
  form (outputs f) after (vminus (evaluate f x) (evaluate f y)) <= form (inputs f) P (vminus x y).

(** Only the quadratic form of the storage before the block counts. *)
Lemma dissipative_ext f P Q after :
  (forall d, form (inputs f) P d = form (inputs f) Q d) -> dissipative f P after -> dissipative f Q after.
Proof. intros same known x y. rewrite <- same. apply known. Qed.

(** ** The linear matrix inequality: d^T P d - (H d + A v)^T P+ (H d + A v) - 2 v^T T (B d - v) >= 0 for all d, v *)
Definition lmi (f : block) (t : vec) (after P : mat) : Prop := forall d v,
  0 <= form (inputs f) P d - form (outputs f) after (advance f d v) - 2 * supply f t d v.

(** Slopes in [0, 1] and T >= 0: the inequality makes the block dissipative. *)
Theorem lmi_dissipative f t after P :
  gated f -> (forall i, (i < hidden f)%nat -> 0 <= t i) -> lmi f t after P -> dissipative f P after.
Proof.
  intros gates nonneg known x y. specialize (known (vminus x y) (firing f x y)).
  pose proof (supply_nonneg f t x y gates nonneg).
  rewrite (form_ext _ _ _ _ (fun i _ => evaluate_difference f x y i)). lra.
Qed.

(** ** The least storage *)

(** D = 2 T - A^T P+ A. *)
Definition gap (f : block) (t : vec) (after : mat) : mat := fun i j =>
  2 * t i * identity i j - sandwich (outputs f) (outer f) after (outer f) i j.

(** G^T = A^T P+ H + T B, of hidden rows and inputs columns. *)
Definition coupling (f : block) (t : vec) (after : mat) : mat := fun i j =>
  sandwich (outputs f) (outer f) after (skip f) i j + t i * inner f i j.

(** D X = G^T: the range condition, with the X that shows it. *)
Definition solves (f : block) (t : vec) (after X : mat) : Prop :=
  forall i j, (i < hidden f)%nat -> (j < inputs f)%nat ->
  product (hidden f) (gap f t after) X i j = coupling f t after i j.

(** P = H^T P+ H + X^T D X. *)
Definition storage (f : block) (t : vec) (X after : mat) : mat := fun i j =>
  sandwich (outputs f) (skip f) after (skip f) i j + sandwich (hidden f) X (gap f t after) X i j.

(** D v = 2 T v - A^T P+ A v. *)
Lemma apply_gap f t after v i : (i < hidden f)%nat ->
  apply (hidden f) (gap f t after) v i =
  2 * t i * v i - apply (hidden f) (sandwich (outputs f) (outer f) after (outer f)) v i.
Proof.
  intros below. rewrite <- (apply_identity (hidden f) v i below).
  unfold apply, dot. rewrite <- sum_scal, <- sum_minus. apply sum_ext; intros j _. unfold gap. ring.
Qed.

Lemma form_gap f t after v :
  form (hidden f) (gap f t after) v =
  2 * sum (hidden f) (fun i => t i * (v i * v i)) - form (outputs f) after (apply (hidden f) (outer f) v).
Proof.
  unfold form. rewrite <- dot_sandwich, <- sum_scal. unfold dot. rewrite <- sum_minus.
  apply sum_ext; intros i below. rewrite apply_gap by exact below. ring.
Qed.

Lemma symmetric_gap f t after : symmetric (outputs f) after -> symmetric (hidden f) (gap f t after).
Proof.
  intros same i j below_i below_j. unfold gap.
  rewrite (symmetric_sandwich (hidden f) _ _ _ same i j) by assumption. f_equal. unfold identity.
  destruct (Nat.eqb_spec i j) as [->|other]; [rewrite Nat.eqb_refl; ring|].
  destruct (Nat.eqb_spec j i); [congruence | ring].
Qed.

(** <v, D X d> = <A v, P+ H d> + <T v, B d>. *)
Lemma dot_solves f t after X d v : solves f t after X ->
  dot (hidden f) v (apply (hidden f) (gap f t after) (apply (inputs f) X d)) =
  dot (outputs f) (apply (hidden f) (outer f) v) (apply (outputs f) after (apply (inputs f) (skip f) d)) +
  sum (hidden f) (fun i => t i * (v i * apply (inputs f) (inner f) d i)).
Proof.
  intros solved. rewrite <- dot_sandwich. unfold dot at 1 2. rewrite <- sum_plus.
  apply sum_ext; intros i below. rewrite <- apply_product.
  replace (apply (inputs f) (product (hidden f) (gap f t after) X) d i)
    with (apply (inputs f) (coupling f t after) d i)
    by (apply sum_ext; intros j inside; f_equal; symmetry; apply solved; assumption).
  replace (apply (inputs f) (coupling f t after) d i)
    with (apply (inputs f) (sandwich (outputs f) (outer f) after (skip f)) d i + t i * apply (inputs f) (inner f) d i).
  - ring.
  - unfold apply, dot. rewrite <- sum_scal, <- sum_plus. apply sum_ext; intros j _. unfold coupling. ring.
Qed.

(** <d, P d> = <H d, P+ H d> + <X d, D X d>. *)
Lemma form_storage f t X after d :
  form (inputs f) (storage f t X after) d = form (outputs f) after (apply (inputs f) (skip f) d) +
  form (hidden f) (gap f t after) (apply (inputs f) X d).
Proof.
  unfold form. rewrite <- !dot_sandwich. unfold dot. rewrite <- sum_plus. apply sum_ext; intros i _.
  unfold apply, dot, storage. rewrite <- Rmult_plus_distr_l, <- sum_plus. f_equal. apply sum_ext; intros j _. ring.
Qed.

Lemma symmetric_storage f t X after :
  symmetric (outputs f) after -> symmetric (inputs f) (storage f t X after).
Proof.
  intros same i j below_i below_j. unfold storage.
  rewrite (symmetric_sandwich (inputs f) _ _ _ same i j) by assumption.
  rewrite (symmetric_sandwich (inputs f) _ X _ (symmetric_gap f t after same) i j) by assumption. reflexivity.
Qed.

(** Completing the square: what the inequality wants nonnegative is <v - X d, D (v - X d)>. *)
Lemma complete_square f t after X d v :
  symmetric (outputs f) after -> solves f t after X ->
  form (inputs f) (storage f t X after) d - form (outputs f) after (advance f d v) - 2 * supply f t d v =
  form (hidden f) (gap f t after) (vminus v (apply (inputs f) X d)).
Proof.
  intros same solved. unfold advance.
  rewrite form_plus, form_storage by exact same.
  rewrite form_minus by (apply symmetric_gap; exact same).
  rewrite <- (symmetric_dot _ _ _ v) by (apply symmetric_gap; exact same).
  rewrite (dot_sym _ _ v), (dot_solves f t after X d v solved), (form_gap f t after v).
  replace (supply f t d v) with (sum (hidden f) (fun i => t i * (v i * apply (inputs f) (inner f) d i)) -
    sum (hidden f) (fun i => t i * (v i * v i))); [ring|].
  rewrite <- sum_minus. apply sum_ext; intros i _. ring.
Qed.

(** D positive semidefinite: P = H^T P+ H + X^T D X satisfies the inequality. *)
Theorem storage_lmi f t after X :
  symmetric (outputs f) after -> positive (hidden f) (gap f t after) -> solves f t after X ->
  lmi f t after (storage f t X after).
Proof. intros same above solved d v. rewrite complete_square by assumption. apply above. Qed.

(** With it the storage does not grow through the block. *)
Corollary storage_dissipative f t after X :
  gated f -> (forall i, (i < hidden f)%nat -> 0 <= t i) -> symmetric (outputs f) after ->
  positive (hidden f) (gap f t after) -> solves f t after X -> dissipative f (storage f t X after) after.
Proof.
  intros gates nonneg same above solved. apply lmi_dissipative with t; [exact gates | exact nonneg |].
  apply storage_lmi; assumption.
Qed.

(** It is the least: every P that satisfies the inequality with the same T is above it. Take v = X d. *)
Theorem storage_least f t after X P d :
  symmetric (outputs f) after -> solves f t after X -> lmi f t after P ->
  form (inputs f) (storage f t X after) d <= form (inputs f) P d.
Proof.
  intros same solved known. specialize (known d (apply (inputs f) X d)).
  pose proof (complete_square f t after X d (apply (inputs f) X d) same solved) as none.
  rewrite (form_zero (hidden f)) in none by (intros i _; unfold vminus; ring). lra.
Qed.

(** Where any P satisfies the inequality, D is positive semidefinite. Take d = 0. *)
Theorem lmi_gap f t after P : lmi f t after P -> positive (hidden f) (gap f t after).
Proof.
  intros known v. specialize (known vzero v). rewrite form_gap.
  rewrite (form_zero (inputs f)) in known by reflexivity.
  assert (forall n M i, apply n M vzero i = 0) as still
    by (intros n M i; apply sum_zero; intros j _; unfold vzero; ring).
  rewrite (form_ext (outputs f) after (advance f vzero v) (apply (hidden f) (outer f) v)) in known
    by (intros i _; unfold advance, vplus; rewrite still; ring).
  replace (supply f t vzero v) with (- sum (hidden f) (fun i => t i * (v i * v i))) in known; [lra|].
  rewrite <- sum_opp. apply sum_ext; intros i _. rewrite still. ring.
Qed.

(** X = S G^T with D S G^T = G^T, S = D^+ being one such: <d, P d> = <H d, P+ H d> + <G^T d, S G^T d>. *)
Theorem storage_pseudoinverse f t after S d :
  let X := product (hidden f) S (coupling f t after) in
  let w := apply (inputs f) (coupling f t after) d in
  solves f t after X ->
  form (inputs f) (storage f t X after) d =
  form (outputs f) after (apply (inputs f) (skip f) d) + form (hidden f) S w.
Proof.
  intros X w solved. rewrite form_storage. f_equal. unfold form at 1. rewrite dot_sym. unfold form.
  apply dot_ext; intros i below.
  - rewrite <- apply_product. apply sum_ext; intros j inside. f_equal. apply solved; assumption.
  - apply apply_product.
Qed.
