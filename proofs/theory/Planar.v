(** Two image axes: the theorem of one axis, applied twice.

    The taps of the first axis act by whole convolutions along the second, whose blocks act by the blocks of both:
        B(w1, w2) = sum over t1, t2 of e^(-i w1 b1_t1) e^(-i w2 b2_t2) F t1 t2.
    For a real kernel B(- w1, - w2) has the norm of B(w1, w2), so half of the frequencies decide.
    Arrays here are ordered by place, then channel; strides are not treated. *)

From Coq Require Import Arith Bool ZArith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Complex Fourier Torus Padding.
Open Scope R_scope.

Definition planar_block (taps1 taps2 : nat) (b1 b2 : nat -> Z) (F : nat -> nat -> cvec -> cvec) (w1 w2 : R) :=
  block taps1 b1 (fun t1 => block taps2 b2 (F t1) w2) w1.

(** The convolution along both axes. *)
Definition planar (a1 a2 : axis) (q p : nat) (F : nat -> nat -> cvec -> cvec) : cvec -> cvec :=
  along a1 (image a2 * q) (outputs a2 * p) (fun t1 => along a2 q p (F t1)).

(** A block, along the first axis, of convolutions along the second is a convolution of blocks. *)
Lemma block_of_along taps1 b1 a2 q p F w1 v i : (forall t1 t2, linear q (F t1 t2)) ->
  block taps1 b1 (fun t1 => along a2 q p (F t1)) w1 v i =
  along a2 q p (fun t2 => block taps1 b1 (fun t1 => F t1 t2) w1) v i.
Proof.
  intros map. unfold block, along, correlation, stack. rewrite <- csum_swap.
  apply csum_ext; intros t1 _. apply eq_sym, csum_scal.
Qed.

(** The sums over the taps of the two axes may be exchanged. *)
Lemma block_swap taps1 taps2 b1 b2 F w1 w2 v o :
  block taps2 b2 (fun t2 => block taps1 b1 (fun t1 => F t1 t2) w1) w2 v o = planar_block taps1 taps2 b1 b2 F w1 w2 v o.
Proof.
  unfold planar_block, block.
  rewrite (csum_ext taps2 _ (fun t2 => csum taps1 (fun t1 => wave w2 (b2 t2) * (wave w1 (b1 t1) * F t1 t2 v o))%C))
    by (intros; symmetry; apply csum_scal).
  rewrite csum_swap. apply csum_ext; intros t1 _. rewrite <- csum_scal. apply csum_ext; intros t2 _. ring.
Qed.

(** Complex kernels: the blocks at the frequencies of two axes bound the convolution. *)
Theorem planar_bound a1 b1 N1 twist1 a2 b2 N2 twist2 q p F s :
  sufficient a1 b1 N1 twist1 -> sufficient a2 b2 N2 twist2 -> (forall t1 t2, linear q (F t1 t2)) ->
  (forall k1 k2, (k1 < N1)%nat -> (k2 < N2)%nat ->
    cbounded q p (planar_block (taps a1) (taps a2) b1 b2 F (frequency N1 twist1 k1) (frequency N2 twist2 k2)) s) ->
  cbounded (image a1 * (image a2 * q)) (outputs a1 * (outputs a2 * p)) (planar a1 a2 q p F) s.
Proof.
  intros enough1 enough2 map blocks. apply enough1; [intros t1; apply linear_along, map|]. intros k1 below1 v.
  set (w1 := frequency N1 twist1 k1) in *.
  rewrite (csquare_ext _ _ (along a2 q p (fun t2 => block (taps a1) b1 (fun t1 => F t1 t2) w1) v))
    by (intros i _; apply block_of_along, map).
  apply enough2; [intros t2; apply linear_block; intros t1; apply map|]. intros k2 below2 u.
  rewrite (csquare_ext _ _ (planar_block (taps a1) (taps a2) b1 b2 F w1 (frequency N2 twist2 k2) u))
    by (intros o _; apply block_swap).
  apply blocks; assumption.
Qed.

(** ** Real kernels *)

(** Maps of a real kernel: they commute with conjugation. *)
Definition real_map (F : cvec -> cvec) : Prop := forall v o, F (fun c => conjugate (v c)) o = conjugate (F v o).

(** What has conjugate waves along both axes has, for a real kernel, a block of the same norm. *)
Lemma planar_block_conjugate taps1 taps2 b1 b2 q p F w1 w2 u1 u2 s :
  (forall z, wave u1 z = conjugate (wave w1 z)) -> (forall z, wave u2 z = conjugate (wave w2 z)) ->
  (forall t1 t2, linear q (F t1 t2)) -> (forall t1 t2, real_map (F t1 t2)) ->
  cbounded q p (planar_block taps1 taps2 b1 b2 F w1 w2) s -> cbounded q p (planar_block taps1 taps2 b1 b2 F u1 u2) s.
Proof.
  intros mirror1 mirror2 map real_kernel known v. specialize (known (fun c => conjugate (v c))).
  rewrite csquare_conjugate in known.
  rewrite <- csquare_conjugate, (csquare_ext p _ (planar_block taps1 taps2 b1 b2 F w1 w2 (fun c => conjugate (v c))));
    [exact known|].
  intros o _. unfold planar_block, block. rewrite <- csum_conjugate. apply csum_ext; intros t1 _.
  rewrite mirror1, conjugate_times, conjugate_twice, <- csum_conjugate. f_equal. apply csum_ext; intros t2 _.
  rewrite mirror2, conjugate_times, conjugate_twice, real_kernel. reflexivity.
Qed.

(** The blocks of a real kernel at (w1, w2) and at (- w1, - w2) have the same norm. *)
Theorem planar_block_opposite taps1 taps2 b1 b2 q p F w1 w2 s :
  (forall t1 t2, linear q (F t1 t2)) -> (forall t1 t2, real_map (F t1 t2)) ->
  cbounded q p (planar_block taps1 taps2 b1 b2 F w1 w2) s -> cbounded q p (planar_block taps1 taps2 b1 b2 F (- w1) (- w2)) s.
Proof. apply planar_block_conjugate; intros z; apply wave_opp_frequency. Qed.

(** The number of the frequency opposite to w_k, up to a full turn. *)
Definition mirror (N : nat) (twist : bool) (k : nat) : nat :=
  if twist then (N - 1 - k)%nat else if (k =? 0)%nat then O else (N - k)%nat.

Lemma mirror_below N twist k : (k < N)%nat -> (mirror N twist k < N)%nat.
Proof. intros below. unfold mirror. destruct twist; [|destruct (Nat.eqb_spec k 0)]; lia. Qed.

Lemma wave_mirror N twist k z : (k < N)%nat ->
  wave (frequency N twist (mirror N twist k)) z = conjugate (wave (frequency N twist k) z).
Proof.
  intros below. rewrite <- wave_opp_frequency. assert (INR N <> 0) as nonzero by (apply not_0_INR; lia).
  unfold mirror, frequency. destruct twist; [|destruct (Nat.eqb_spec k 0) as [->|other]].
  - rewrite !minus_INR by lia. simpl (INR 1). rewrite <- (wave_turn (- _)). f_equal. field. exact nonzero.
  - f_equal. simpl. field. exact nonzero.
  - rewrite minus_INR by lia. rewrite <- (wave_turn (- _)). f_equal. field. exact nonzero.
Qed.

(** Of two opposite frequencies of an axis one has 2 k + twist <= N. *)
Lemma mirror_half N (twist : bool) k : (k < N)%nat -> let odd := if twist then 1%nat else O in
  (2 * k + odd <= N)%nat \/ (2 * mirror N twist k + odd <= N)%nat.
Proof. intros below odd. unfold mirror, odd. destruct twist; [|destruct (Nat.eqb_spec k 0)]; lia. Qed.

(** Real kernels: frequencies k2 with 2 k2 + twist <= N2 along the second axis, with all along the first, decide. *)
Theorem planar_bound_half a1 b1 N1 twist1 a2 b2 N2 (twist2 : bool) q p F s :
  sufficient a1 b1 N1 twist1 -> sufficient a2 b2 N2 twist2 ->
  (forall t1 t2, linear q (F t1 t2)) -> (forall t1 t2, real_map (F t1 t2)) ->
  (forall k1 k2, (k1 < N1)%nat -> (2 * k2 + (if twist2 then 1 else 0) <= N2)%nat ->
    cbounded q p (planar_block (taps a1) (taps a2) b1 b2 F (frequency N1 twist1 k1) (frequency N2 twist2 k2)) s) ->
  cbounded (image a1 * (image a2 * q)) (outputs a1 * (outputs a2 * p)) (planar a1 a2 q p F) s.
Proof.
  intros enough1 enough2 map real_kernel blocks.
  apply planar_bound with b1 N1 twist1 b2 N2 twist2; try assumption. intros k1 k2 below1 below2.
  destruct (mirror_half N2 twist2 k2 below2) as [low|high]; [apply blocks; assumption|].
  apply planar_block_conjugate with (frequency N1 twist1 (mirror N1 twist1 k1)) (frequency N2 twist2 (mirror N2 twist2 k2));
    try assumption.
  - intros z. rewrite wave_mirror, conjugate_twice by exact below1. reflexivity.
  - intros z. rewrite wave_mirror, conjugate_twice by exact below2. reflexivity.
  - apply blocks; [apply mirror_below; exact below1 | exact high].
Qed.
