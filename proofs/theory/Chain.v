(** Chains of blocks, and the bound of LipSDP-Neuron (Fazlyab et al., 2019) for plain and residual networks.

    The storage after the last block is the identity; going backwards, each block's storage follows from the next.
    If that before the first block is at most L^2 I, the chain has the Lipschitz constant L from l2 to l2. With the
    least storages, this is the semidefinite program of the whole chain: the same L, for the same diagonal
    multipliers T >= 0.

    Not said: which T is best, that L is the least constant of the network (the program allows every activation with
    slopes in [0, 1]), that a program that is feasible has the X asked for here, or how positive semidefinite
    matrices are recognised. *)

From Coq Require Import Arith Reals List Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Forms Storage.
Import ListNotations.
Open Scope R_scope.

(** The blocks one after the other, the first of the list first. *)
Fixpoint run (blocks : list block) (x : vec) : vec :=
  match blocks with
  | [] => x
  | f :: rest => run rest (evaluate f x)
  end.

(** ** Any storages *)

(** P before the blocks, the identity of m rows after the last, and every block dissipative in between. *)
Inductive dissipative_chain : mat -> nat -> list block -> nat -> Prop :=
| chain_end m : dissipative_chain identity m [] m
| chain_block f P after rest m :
    dissipative f P after -> dissipative_chain after (outputs f) rest m -> dissipative_chain P (inputs f) (f :: rest) m.

Lemma dissipative_chain_square P n blocks m x y :
  dissipative_chain P n blocks m -> square m (vminus (run blocks x) (run blocks y)) <= form n P (vminus x y).
Proof.
  intros chain. revert x y. induction chain as [m|f P after rest m first _ IH]; intros x y.
  - rewrite form_identity. simpl. lra.
  - specialize (first x y). specialize (IH (evaluate f x) (evaluate f y)). simpl. lra.
Qed.

(** P <= L^2 I before the first block: the chain has the constant L. *)
Theorem lipschitz_dissipative_chain P n blocks m L :
  dissipative_chain P n blocks m -> 0 <= L -> (forall d, form n P d <= L ^ 2 * square n d) ->
  lipschitz n m L (run blocks).
Proof.
  intros chain nonneg below. split; [exact nonneg|]. intros x y.
  apply Rle_trans with (form n P (vminus x y)); [apply dissipative_chain_square, chain | apply below].
Qed.

(** ** The least storages, by recursion from the output *)

(** A block, its multipliers T (diagonal) and X with D X = G^T. *)
Record layer := Layer { block_of : block; multiplier : vec; solution : mat }.

Definition blocks_of (l : list layer) : list block := map block_of l.

Fixpoint first_storage (l : list layer) : mat :=
  match l with
  | [] => identity
  | s :: rest => storage (block_of s) (multiplier s) (solution s) (first_storage rest)
  end.

(** From n inputs to m outputs the widths fit, slopes are in [0, 1], and T >= 0. *)
Fixpoint admissible (n : nat) (l : list layer) (m : nat) : Prop :=
  match l with
  | [] => n = m
  | s :: rest => let f := block_of s in
      inputs f = n /\ gated f /\ (forall i, (i < hidden f)%nat -> 0 <= multiplier s i) /\ admissible (outputs f) rest m
  end.

(** At every block D is positive semidefinite and D X = G^T. *)
Fixpoint solvable (l : list layer) : Prop :=
  match l with
  | [] => True
  | s :: rest => let f := block_of s in let after := first_storage rest in
      positive (hidden f) (gap f (multiplier s) after) /\ solves f (multiplier s) after (solution s) /\ solvable rest
  end.

Lemma first_storage_symmetric n l m : admissible n l m -> symmetric n (first_storage l).
Proof.
  revert n. induction l as [|s rest IH]; simpl; intros n fits; [apply symmetric_identity|].
  destruct fits as (<- & _ & _ & others). apply symmetric_storage, IH, others.
Qed.

Lemma storages_dissipate n l m :
  admissible n l m -> solvable l -> dissipative_chain (first_storage l) n (blocks_of l) m.
Proof.
  revert n. induction l as [|s rest IH]; simpl; intros n fits solved.
  - subst. constructor.
  - destruct fits as (<- & gates & nonneg & others). destruct solved as (above & solution_here & solved).
    apply chain_block with (first_storage rest); [|apply IH; assumption].
    apply storage_dissipative; auto. apply first_storage_symmetric with m, others.
Qed.

(** P_0 <= L^2 I, P_0 = the least storage before the first block for these T: the chain has the constant L. *)
Theorem lipschitz_chain n l m L :
  admissible n l m -> solvable l -> 0 <= L -> (forall d, form n (first_storage l) d <= L ^ 2 * square n d) ->
  lipschitz n m L (run (blocks_of l)).
Proof.
  intros fits solved. apply lipschitz_dissipative_chain. apply storages_dissipate; assumption.
Qed.

(** ** The inequality of the whole chain *)

(** ||d_out||^2 + 2 sum_k v_k^T T_k (B_k d_k - v_k) with d_0 = d, d_(k + 1) = H_k d_k + A_k v_k. *)
Fixpoint lipsdp_form (m : nat) (l : list layer) (v : nat -> vec) (d : vec) : R :=
  match l with
  | [] => square m d
  | s :: rest => let f := block_of s in
      2 * supply f (multiplier s) d (v O) + lipsdp_form m rest (fun k => v (S k)) (advance f d (v O))
  end.

Lemma supply_ext f t d e v :
  (forall i, (i < inputs f)%nat -> d i = e i) -> supply f t d v = supply f t e v.
Proof. intros same. apply sum_ext; intros i _. rewrite (apply_ext _ _ d e i same). reflexivity. Qed.

Lemma lipsdp_form_ext n l m v d e :
  admissible n l m -> (forall i, (i < n)%nat -> d i = e i) -> lipsdp_form m l v d = lipsdp_form m l v e.
Proof.
  revert n v d e. induction l as [|s rest IH]; simpl; intros n v d e fits same.
  - subst. apply square_ext, same.
  - destruct fits as (<- & _ & _ & others). f_equal; [f_equal; apply supply_ext, same|].
    apply IH with (outputs (block_of s)); [exact others|]. intros i _. unfold advance, vplus. f_equal.
    apply apply_ext, same.
Qed.

(** What the activations of two inputs x, y do is among the v: ||f x - f y||^2 is at most the form for one of them. *)
Lemma lipsdp_form_above n l m x y :
  admissible n l m ->
  exists v, square m (vminus (run (blocks_of l) x) (run (blocks_of l) y)) <= lipsdp_form m l v (vminus x y).
Proof.
  revert n x y. induction l as [|s rest IH]; simpl; intros n x y fits.
  - exists (fun _ => vzero). lra.
  - destruct fits as (<- & gates & nonneg & others). set (f := block_of s) in *.
    destruct (IH (outputs f) (evaluate f x) (evaluate f y) others) as [v later].
    exists (fun k => match k with O => firing f x y | S k => v k end).
    rewrite (lipsdp_form_ext (outputs f) rest m _ _ (advance f (vminus x y) (firing f x y)) others
      (fun i _ => evaluate_difference f x y i)) in later.
    pose proof (supply_nonneg f (multiplier s) x y gates nonneg).
    change (fun k => v k) with v. lra.
Qed.

(** LipSDP-Neuron: diagonal T >= 0 and ||d_out||^2 + 2 sum_k v_k^T T_k (B_k d_k - v_k) <= L^2 ||d||^2 for all d and
    all v (one matrix inequality) prove the constant L. *)
Theorem lipsdp_neuron n l m L :
  admissible n l m -> 0 <= L -> (forall v d, lipsdp_form m l v d <= L ^ 2 * square n d) ->
  lipschitz n m L (run (blocks_of l)).
Proof.
  intros fits nonneg known. split; [exact nonneg|]. intros x y.
  destruct (lipsdp_form_above n l m x y fits) as [v above]. specialize (known v (vminus x y)). lra.
Qed.

(** The largest value of the form over all v is <d, P_0 d>: it is never above, *)
Lemma lipsdp_form_below n l m v d :
  admissible n l m -> solvable l -> lipsdp_form m l v d <= form n (first_storage l) d.
Proof.
  revert n v d. induction l as [|s rest IH]; simpl; intros n v d fits solved.
  - subst. rewrite form_identity. lra.
  - destruct fits as (<- & _ & _ & others). destruct solved as (above & solution_here & solved).
    specialize (IH _ (fun k => v (S k)) (advance (block_of s) d (v O)) others solved).
    pose proof (storage_lmi (block_of s) (multiplier s) (first_storage rest) (solution s)
      (first_storage_symmetric _ rest m others) above solution_here d (v O)). lra.
Qed.

(** and it is reached, at v_k = X_k d_k. *)
Lemma lipsdp_form_reached n l m d :
  admissible n l m -> solvable l -> exists v, lipsdp_form m l v d = form n (first_storage l) d.
Proof.
  revert n d. induction l as [|s rest IH]; simpl; intros n d fits solved.
  - subst. exists (fun _ => vzero). symmetry. apply form_identity.
  - destruct fits as (<- & _ & _ & others). destruct solved as (above & solution_here & solved).
    set (f := block_of s) in *. set (u := apply (inputs f) (solution s) d).
    destruct (IH (outputs f) (advance f d u) others solved) as [v reached].
    exists (fun k => match k with O => u | S k => v k end).
    pose proof (complete_square f (multiplier s) (first_storage rest) (solution s) d u
      (first_storage_symmetric _ rest m others) solution_here) as none.
    rewrite (form_zero (hidden f)) in none by (intros i _; unfold u, vminus; ring).
    change (fun k => v k) with v. lra.
Qed.

(** The recursion is LipSDP-Neuron: for the same T both prove the same c = L^2. *)
Theorem recursion_is_lipsdp n l m c :
  admissible n l m -> solvable l ->
  ((forall v d, lipsdp_form m l v d <= c * square n d) <-> (forall d, form n (first_storage l) d <= c * square n d)).
Proof.
  intros fits solved. split; intros known.
  - intros d. destruct (lipsdp_form_reached n l m d fits solved) as [v <-]. apply known.
  - intros v d. eapply Rle_trans; [apply (lipsdp_form_below n l m v d fits solved) | apply known].
Qed.
