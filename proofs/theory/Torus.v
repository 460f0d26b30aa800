(** The Fourier transform makes a convolution on a torus block diagonal.

    One axis of N places, plain or twisted; at every place a vector of q entries. What the kernel does at tap t is any linear
    map F t of such vectors to vectors of p entries: a matrix of channels, or a whole convolution along other axes. Taps read at
    any integer offsets. Proved: the square of the norm is at most s if it is so for the block at each of the N frequencies,
        B(w) = sum over t of e^(-i w offset_t) F t.
    Not proved: that the norm of the torus' operator is no smaller than that of its blocks. *)

From Coq Require Import Arith Bool ZArith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Complex Fourier.
Open Scope R_scope.

(** Cross-correlation: entry o at place i is the sum over the taps t of F t (read (i + offset t)) o. *)
Definition correlation (p taps : nat) (offset : nat -> Z) (F : nat -> cvec -> cvec) (read : Z -> cvec) : cvec :=
  stack p (fun i o => csum taps (fun t => F t (read (Z.of_nat i + offset t)%Z) o)).

(** B(w). *)
Definition block (taps : nat) (offset : nat -> Z) (F : nat -> cvec -> cvec) (w : R) (v : cvec) : cvec :=
  fun o => csum taps (fun t => wave w (offset t) * F t v o)%C.

(** What x of shape (N, q) has at the integer z of a torus. *)
Definition around (N : nat) (twist : bool) (q : nat) (x : cvec) (z : Z) : cvec :=
  fun c => extension N twist (fun j => row q j x c) z.

(** The convolution on the torus. *)
Definition torus (N : nat) (twist : bool) (taps : nat) (offset : nat -> Z) (q p : nat) (F : nat -> cvec -> cvec) (x : cvec) :=
  correlation p taps offset F (around N twist q x).

(** The transform of what the torus' operator makes of x is the block times the transform of x. *)
Lemma torus_blocks N twist taps offset q p F x k o :
  (0 < N)%nat -> (forall t, linear q (F t)) -> (o < p)%nat -> let w := frequency N twist k in
  transform_rows N p (torus N twist taps offset q p F x) w o = block taps offset F w (transform_rows N q x w) o.
Proof.
  intros positive map below w. unfold transform_rows at 1, transform, block.
  rewrite (csum_ext N _ (fun j => csum taps (fun t =>
    conjugate (wave w (Z.of_nat j)) * F t (around N twist q x (Z.of_nat j + offset t)) o)%C)).
  - rewrite csum_swap. apply csum_ext; intros t _.
    rewrite <- (linear_sum q (F t) N (fun j => conjugate (wave w (Z.of_nat j)))) by apply map.
    rewrite <- (linear_scal q (F t)) by apply map. apply (linear_ext q (F t) (map t)); intros c _.
    apply (transform_shift N twist (fun j => row q j x c)); exact positive.
  - intros j _. unfold torus, correlation. rewrite row_stack by exact below. symmetry. apply csum_scal.
Qed.

(** ||torus||^2 <= s if ||B(w_k)||^2 <= s for k = 0 .. N - 1. *)
Theorem torus_bounded N twist taps offset q p F s :
  (forall t, linear q (F t)) ->
  (forall k, (k < N)%nat -> cbounded q p (block taps offset F (frequency N twist k)) s) ->
  cbounded (N * q) (N * p) (torus N twist taps offset q p F) s.
Proof.
  intros map blocks x. destruct (Nat.eq_dec N 0) as [->|other]; [unfold csquare; simpl; lra|].
  assert (0 < INR N) as positive by (apply lt_0_INR; lia).
  apply Rmult_le_reg_l with (INR N); [exact positive|].
  rewrite <- Rmult_assoc, (Rmult_comm (INR N) s), Rmult_assoc, <- !(parseval_rows _ _ twist), <- sum_scal.
  apply sum_le; intros k below.
  rewrite (csquare_ext p _ (block taps offset F (frequency N twist k) (transform_rows N q x (frequency N twist k)))).
  - apply blocks; exact below.
  - intros o small. apply torus_blocks; [lia | exact map | exact small].
Qed.

(** ** Blocks of equal norm *)

(** All offsets moved by the same amount: the block is multiplied by a number of modulus 1. *)
Lemma block_moved taps offset shift F w v o :
  block taps (fun t => offset t + shift)%Z F w v o = (wave w shift * block taps offset F w v o)%C.
Proof. unfold block. rewrite <- csum_scal. apply csum_ext; intros t _. rewrite wave_plus. ring. Qed.

Lemma block_moved_bounded q p taps offset shift F w s :
  cbounded q p (block taps (fun t => offset t + shift)%Z F w) s <-> cbounded q p (block taps offset F w) s.
Proof.
  assert (forall v, csquare p (block taps (fun t => offset t + shift)%Z F w v) = csquare p (block taps offset F w v))
    as same.
  { intros v. rewrite (csquare_ext p _ (fun o => wave w shift * block taps offset F w v o)%C).
    - rewrite csquare_scal, abs2_wave. ring.
    - intros o _. apply block_moved. }
  split; intros known v; specialize (known v); rewrite same in *; exact known.
Qed.

(** Only the offsets of the taps count. *)
Lemma block_ext q p taps offset other F w s : (forall t, (t < taps)%nat -> offset t = other t) ->
  cbounded q p (block taps offset F w) s -> cbounded q p (block taps other F w) s.
Proof.
  intros same known v. specialize (known v).
  rewrite (csquare_ext p _ (block taps offset F w v)); [exact known|].
  intros o _. apply csum_ext; intros t below. rewrite same by exact below. reflexivity.
Qed.

(** Where all taps have the same offset, the block at one frequency bounds that at any other. *)
Lemma block_constant q p taps offset F w u s (a : Z) : (forall t, (t < taps)%nat -> offset t = a) ->
  cbounded q p (block taps offset F w) s -> cbounded q p (block taps offset F u) s.
Proof.
  intros same known.
  assert (cbounded q p (block taps (fun _ => 0 + a)%Z F w) s) as moved
    by (apply block_ext with offset; [intros t below; rewrite same by exact below; lia | exact known]).
  rewrite (block_moved_bounded q p taps (fun _ => 0%Z)) in moved.
  apply block_ext with (fun _ => 0 + a)%Z; [intros t below; rewrite same by exact below; lia|].
  rewrite (block_moved_bounded q p taps (fun _ => 0%Z)). intros v. specialize (moved v).
  rewrite (csquare_ext p _ (block taps (fun _ => 0%Z) F w v)); [exact moved|].
  intros o _. apply csum_ext; intros t _. rewrite !wave_zero. reflexivity.
Qed.

(** A block of linear maps is a linear map. *)
Lemma linear_block q taps offset F w : (forall t, linear q (F t)) -> linear q (block taps offset F w).
Proof.
  intros map. constructor; unfold block.
  - intros x y o same. apply csum_ext; intros t _. f_equal. apply (linear_ext q _ (map t)); exact same.
  - intros x y o. rewrite <- csum_plus. apply csum_ext; intros t _. rewrite (linear_plus q _ (map t)). ring.
  - intros c x o. rewrite <- csum_scal. apply csum_ext; intros t _. rewrite (linear_scal q _ (map t)). ring.
Qed.
