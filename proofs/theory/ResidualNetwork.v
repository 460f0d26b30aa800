(** LipSDP-Neuron for residual networks: blocks x + A sigma(B x + b) of one width, then W x + c; slopes in [0, 1].

    P = W^T W before the last layer, then backwards P = P+ + G D^+ G^T with D = 2 T - A^T P+ A and
    G^T = A^T P+ + T B. The Convex Potential Layer x - h W^T sigma(W x + b) (Meunier et al., 2022) keeps the storage
    I with T = h I where h ||W||^2 <= 2: D X = G^T = 0 at X = 0. A stack of them has the constant 1. D may be
    singular.

    Not said: which T is best, that the bound is attained, and what Storage.v and Chain.v do not say. *)

From Coq Require Import Arith Reals List Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Forms Storage Chain PlainNetwork.
Import ListNotations.
Open Scope R_scope.

(** ** One block *)

(** x + A sigma(B x + b), k neurons. *)
Definition residual (n k : nat) (A B : mat) (b : vec) (sigma : nat -> R -> R) : block :=
  Block n k n identity A B b vzero sigma.

Lemma evaluate_residual n k A B b sigma x i :
  (i < n)%nat ->
  evaluate (residual n k A B b sigma) x i = x i + apply k A (fun l => sigma l (apply n B x l + b l)) i.
Proof.
  intros below. unfold evaluate, residual, vplus, vzero. cbn [inputs hidden skip outer inner bias offset activation].
  rewrite apply_identity by exact below. ring.
Qed.

(** 2 T - A^T P+ A. *)
Definition residual_gap (n : nat) (A : mat) (t : vec) (after : mat) : mat := fun i j =>
  2 * t i * identity i j - sandwich n A after A i j.

(** P+ + X^T D X. *)
Definition residual_storage (n k : nat) (A : mat) (t : vec) (X after : mat) : mat := fun i j =>
  after i j + sandwich k X (residual_gap n A t after) X i j.

(** D positive semidefinite and D X = A^T P+ + T B: P = P+ + X^T D X is a storage before x + A sigma(B x + b). *)
Theorem residual_dissipative n k A B b sigma t X after :
  (forall i, (i < k)%nat -> slopes 0 1 (sigma i)) -> (forall i, (i < k)%nat -> 0 <= t i) -> symmetric n after ->
  positive k (residual_gap n A t after) ->
  (forall i j, (i < k)%nat -> (j < n)%nat ->
    product k (residual_gap n A t after) X i j = product n (transpose A) after i j + t i * B i j) ->
  dissipative (residual n k A B b sigma) (residual_storage n k A t X after) after.
Proof.
  intros gates nonneg same above solved. set (f := residual n k A B b sigma).
  apply dissipative_ext with (storage f t X after).
  - intros d. apply form_matrix_ext. intros i j below_i below_j. unfold storage, residual_storage. simpl in *.
    rewrite sandwich_identity by assumption. reflexivity.
  - apply storage_dissipative; try assumption.
    intros i j below_i below_j. unfold coupling. simpl in *. rewrite sandwich_identity_r by assumption.
    apply solved; assumption.
Qed.

(** ** The network *)

(** A sigma(B x + b) with its multipliers T and X, D X = A^T P+ + T B. *)
Record branch := Branch {
  units : nat; outward : mat; inward : mat; shift : vec; gate : nat -> R -> R;  (** neurons, A, B, b, sigma *)
  multiplier_of : vec; solution_of : mat  (** T, X *)
}.

Definition branch_block (n : nat) (s : branch) : block :=
  residual n (units s) (outward s) (inward s) (shift s) (gate s).

(** x + A sigma(B x + b), again and again, then W x + c. *)
Fixpoint residual_network (n : nat) (l : list branch) (W : mat) (c x : vec) : vec :=
  match l with
  | [] => vplus (apply n W x) c
  | s :: rest => residual_network n rest W c (fun i => x i +
      apply (units s) (outward s) (fun l => gate s l (apply n (inward s) x l + shift s l)) i)
  end.

Fixpoint first_residual_storage (n m : nat) (l : list branch) (W : mat) : mat :=
  match l with
  | [] => sandwich m W identity W
  | s :: rest =>
      residual_storage n (units s) (outward s) (multiplier_of s) (solution_of s) (first_residual_storage n m rest W)
  end.

(** Slopes in [0, 1], T >= 0, D positive semidefinite and D X = A^T P+ + T B at every block. *)
Fixpoint residual_feasible (n m : nat) (l : list branch) (W : mat) : Prop :=
  match l with
  | [] => True
  | s :: rest => let after := first_residual_storage n m rest W in
      let D := residual_gap n (outward s) (multiplier_of s) after in
      (forall i, (i < units s)%nat -> slopes 0 1 (gate s i)) /\
      (forall i, (i < units s)%nat -> 0 <= multiplier_of s i) /\ positive (units s) D /\
      (forall i j, (i < units s)%nat -> (j < n)%nat -> product (units s) D (solution_of s) i j =
        product n (transpose (outward s)) after i j + multiplier_of s i * inward s i j) /\
      residual_feasible n m rest W
  end.

Definition residual_blocks (n m : nat) (l : list branch) (W : mat) (c : vec) : list block :=
  map (branch_block n) l ++ [affine n m W c].

Lemma residual_network_ext n l W c x y i :
  (forall j, (j < n)%nat -> x j = y j) -> residual_network n l W c x i = residual_network n l W c y i.
Proof.
  revert x y. induction l as [|s rest IH]; simpl; intros x y same.
  - unfold vplus. f_equal. apply apply_ext, same.
  - apply IH. intros j below. rewrite (same j below). f_equal. apply apply_ext; intros l _.
    rewrite (apply_ext n (inward s) x y l same). reflexivity.
Qed.

Lemma run_residual n m l W c x i : run (residual_blocks n m l W c) x i = residual_network n l W c x i.
Proof.
  revert x. induction l as [|s rest IH]; intros x.
  - apply evaluate_affine.
  - simpl. unfold residual_blocks in IH. rewrite IH. apply residual_network_ext.
    intros j below. apply evaluate_residual, below.
Qed.

Lemma first_residual_storage_symmetric n m l W : symmetric n (first_residual_storage n m l W).
Proof.
  induction l as [|s rest IH]; simpl; [apply symmetric_sandwich, symmetric_identity|].
  intros i j below_i below_j. unfold residual_storage. rewrite (IH i j) by assumption. f_equal.
  apply (symmetric_sandwich n); try assumption. exact (symmetric_gap (branch_block n s) (multiplier_of s) _ IH).
Qed.

Lemma residual_network_dissipative n m l W c :
  residual_feasible n m l W -> dissipative_chain (first_residual_storage n m l W) n (residual_blocks n m l W c) m.
Proof.
  induction l as [|s rest IH]; intros feasible.
  - apply (chain_block (affine n m W c) _ identity); [apply affine_dissipative | constructor].
  - destruct feasible as (sloped & nonneg & above & solved & others).
    apply (chain_block (branch_block n s) _ (first_residual_storage n m rest W)).
    + apply residual_dissipative; try assumption. apply first_residual_storage_symmetric.
    + apply IH, others.
Qed.

(** Storage at most L^2 I at the input: the residual network has the constant L. *)
Theorem lipschitz_residual n m l W c L :
  residual_feasible n m l W -> 0 <= L -> (forall d, form n (first_residual_storage n m l W) d <= L ^ 2 * square n d) ->
  lipschitz n m L (residual_network n l W c).
Proof.
  intros feasible nonneg below. apply lipschitz_ext with (run (residual_blocks n m l W c)).
  - intros x i _. apply run_residual.
  - apply lipschitz_dissipative_chain with (first_residual_storage n m l W);
      [apply residual_network_dissipative | |]; assumption.
Qed.

(** ** Convex Potential Layers *)

(** x - h W^T sigma(W x + b): A = - h W^T, B = W. *)
Definition potential (n k : nat) (W : mat) (b : vec) (sigma : nat -> R -> R) (h : R) : block :=
  residual n k (fun j i => - h * W i j) W b sigma.

Lemma evaluate_potential n k W b sigma h x i :
  (i < n)%nat -> evaluate (potential n k W b sigma h) x i =
  x i - h * apply k (transpose W) (fun l => sigma l (apply n W x l + b l)) i.
Proof.
  intros below. unfold potential. rewrite evaluate_residual by exact below.
  unfold apply at 1 3, dot, transpose. unfold Rminus. rewrite Ropp_mult_distr_l, <- sum_scal. f_equal.
  apply sum_ext; intros l _. ring.
Qed.

(** D = 2 h I - h^2 W W^T is positive semidefinite where h ||W||^2 <= 2: <v, D v> >= h (2 - h s) ||v||^2. *)
Lemma potential_gap n k W h s :
  bounded n k W s -> 0 <= s -> 0 <= h -> h * s <= 2 ->
  positive k (residual_gap n (fun j i => - h * W i j) (fun _ => h) identity).
Proof.
  intros known nonneg forward small v.
  pose proof (form_gap (potential n k W vzero (fun _ q => q) h) (fun _ => h) identity v) as parts. simpl in parts.
  change (0 <= form k (gap (potential n k W vzero (fun _ q => q) h) (fun _ => h) identity) v).
  rewrite parts, form_identity, sum_scal. change (sum k (fun i => v i * v i)) with (square k v).
  rewrite (square_ext n _ (vscal (- h) (apply k (transpose W) v))).
  - rewrite square_scal. pose proof (bounded_transpose n k W s nonneg known v) as image.
    pose proof (square_nonneg k v).
    assert (h ^ 2 * square n (apply k (transpose W) v) <= h ^ 2 * (s * square k v))
      by (apply Rmult_le_compat_l; [nra | exact image]).
    assert (0 <= h * (2 - h * s) * square k v) by (repeat apply Rmult_le_pos; lra). nra.
  - intros j _. unfold vscal, apply, dot, transpose. rewrite <- sum_scal. apply sum_ext; intros i _. ring.
Qed.

(** T = h I and X = 0: the storage I after the layer gives I before it, where h ||W||^2 <= 2. *)
Theorem potential_dissipative n k W b sigma h s :
  bounded n k W s -> 0 <= s -> 0 <= h -> h * s <= 2 -> (forall i, (i < k)%nat -> slopes 0 1 (sigma i)) ->
  dissipative (potential n k W b sigma h) identity identity.
Proof.
  intros known nonneg forward small sloped. set (A := fun j i => - h * W i j).
  apply dissipative_ext with (residual_storage n k A (fun _ => h) zero_matrix identity).
  - intros d. apply form_matrix_ext. intros i j _ _. unfold residual_storage. rewrite sandwich_zero_r. ring.
  - apply residual_dissipative; try assumption; auto using symmetric_identity.
    + apply potential_gap with s; assumption.
    + intros i j _ below. rewrite product_identity_r by exact below. unfold transpose, A, product, zero_matrix, dot.
      rewrite sum_zero by (intros l _; ring). ring.
Qed.

(** A layer x - h W^T sigma(W x + b) with slopes in [0, 1] and h ||W||^2 <= 2. *)
Inductive sealed (n : nat) : block -> Prop :=
| seal k W b sigma h s :
    bounded n k W s -> 0 <= s -> 0 <= h -> h * s <= 2 -> (forall i, (i < k)%nat -> slopes 0 1 (sigma i)) ->
    sealed n (potential n k W b sigma h).

(** A stack of such layers has the storage I at the input, hence the constant 1. *)
Theorem potential_stack n blocks : Forall (sealed n) blocks -> dissipative_chain identity n blocks n.
Proof.
  induction 1 as [|f rest here _ IH]; [constructor|].
  destruct here as [k W b sigma h s known nonneg forward small sloped].
  apply (chain_block (potential n k W b sigma h) identity identity); [|exact IH].
  apply potential_dissipative with s; assumption.
Qed.

Corollary lipschitz_potential_stack n blocks : Forall (sealed n) blocks -> lipschitz n n 1 (run blocks).
Proof.
  intros each. apply lipschitz_dissipative_chain with identity; [apply potential_stack, each | lra |].
  intros d. rewrite form_identity. lra.
Qed.
