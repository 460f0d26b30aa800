(** Vectors and matrices of real numbers.

    A vector of length n is a function of which only the entries 0 .. n - 1 are read; so is a matrix. No statement
    speaks of entries beyond: lengths are arguments of whatever sums. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums.
Open Scope R_scope.

Definition vec := nat -> R.
Definition mat := nat -> nat -> R.

Definition vplus (x y : vec) : vec := fun i => x i + y i.
Definition vminus (x y : vec) : vec := fun i => x i - y i.
Definition vscal (c : R) (x : vec) : vec := fun i => c * x i.
Definition vzero : vec := fun _ => 0.

Definition dot (n : nat) (x y : vec) : R := sum n (fun i => x i * y i).

(** The square of the Euclidean norm, and the norm. *)
Definition square (n : nat) (x : vec) : R := dot n x x.
Definition norm (n : nat) (x : vec) : R := sqrt (square n x).

(** A x for A with n columns. *)
Definition apply (n : nat) (A : mat) (x : vec) : vec := fun i => dot n (A i) x.
Definition transpose (A : mat) : mat := fun i j => A j i.

(** ||A||^2 <= s for A of m rows and n columns. *)
Definition bounded (n m : nat) (A : mat) (s : R) : Prop :=
  forall x, square m (apply n A x) <= s * square n x.

(** ** Inner products *)

Lemma dot_ext n x x' y y' :
  (forall i, (i < n)%nat -> x i = x' i) -> (forall i, (i < n)%nat -> y i = y' i) -> dot n x y = dot n x' y'.
Proof. intros same_x same_y. apply sum_ext; intros i below. rewrite same_x, same_y by exact below. reflexivity. Qed.

Lemma square_ext n x x' : (forall i, (i < n)%nat -> x i = x' i) -> square n x = square n x'.
Proof. intros same. apply dot_ext; exact same. Qed.

Lemma dot_sym n x y : dot n x y = dot n y x.
Proof. apply sum_ext; intros i _. ring. Qed.

Lemma dot_plus_l n x y z : dot n (vplus x y) z = dot n x z + dot n y z.
Proof. unfold dot, vplus. rewrite <- sum_plus. apply sum_ext; intros i _. ring. Qed.

Lemma dot_plus_r n x y z : dot n z (vplus x y) = dot n z x + dot n z y.
Proof. rewrite !(dot_sym n z). apply dot_plus_l. Qed.

Lemma dot_minus_l n x y z : dot n (vminus x y) z = dot n x z - dot n y z.
Proof. unfold dot, vminus. rewrite <- sum_minus. apply sum_ext; intros i _. ring. Qed.

Lemma dot_minus_r n x y z : dot n z (vminus x y) = dot n z x - dot n z y.
Proof. rewrite !(dot_sym n z). apply dot_minus_l. Qed.

Lemma dot_scal_l n c x y : dot n (vscal c x) y = c * dot n x y.
Proof. unfold dot, vscal. rewrite <- sum_scal. apply sum_ext; intros i _. ring. Qed.

Lemma dot_scal_r n c x y : dot n x (vscal c y) = c * dot n x y.
Proof. rewrite !(dot_sym n x). apply dot_scal_l. Qed.

(** Rewrites inner products and squares of sums, differences and multiples into inner products of their parts. *)
Ltac expand :=
  unfold square;
  rewrite ?dot_plus_l, ?dot_plus_r, ?dot_minus_l, ?dot_minus_r, ?dot_scal_l, ?dot_scal_r,
    ?dot_plus_l, ?dot_plus_r, ?dot_minus_l, ?dot_minus_r, ?dot_scal_l, ?dot_scal_r.

Lemma square_nonneg n x : 0 <= square n x.
Proof. apply sum_nonneg; intros i _. nra. Qed.

Lemma square_zero n x : (forall i, (i < n)%nat -> x i = 0) -> square n x = 0.
Proof. intros zero. apply sum_zero; intros i below. rewrite zero by exact below. ring. Qed.

Lemma square_zero_entry n x i : square n x = 0 -> (i < n)%nat -> x i = 0.
Proof.
  intros zero below. assert (x i * x i = 0); [|nra].
  apply (sum_zero_term n (fun j => x j * x j)); auto. intros j _. nra.
Qed.

(** The square of an entry is at most that of the vector. *)
Lemma square_entry n x i : (i < n)%nat -> x i * x i <= square n x.
Proof. intros below. apply (sum_term n (fun j => x j * x j)); [intros; nra | exact below]. Qed.

Lemma square_plus n x y : square n (vplus x y) = square n x + 2 * dot n x y + square n y.
Proof. expand. rewrite (dot_sym n y x). ring. Qed.

Lemma square_minus n x y : square n (vminus x y) = square n x - 2 * dot n x y + square n y.
Proof. expand. rewrite (dot_sym n y x). ring. Qed.

Lemma square_scal n c x : square n (vscal c x) = c ^ 2 * square n x.
Proof. expand. ring. Qed.

(** ** Cauchy-Schwarz and the norm *)

Theorem cauchy_schwarz n x y : (dot n x y) ^ 2 <= square n x * square n y.
Proof.
  pose proof (square_nonneg n x) as Hx. pose proof (square_nonneg n y) as Hy.
  pose proof (square_nonneg n (vminus (vscal (square n y) x) (vscal (dot n x y) y))) as whole.
  rewrite square_minus, !square_scal, dot_scal_l, dot_scal_r in whole.
  destruct (Req_dec (square n y) 0) as [zero|positive].
  - assert (dot n x y = 0) as ->; [|nra].
    apply sum_zero; intros i below. rewrite (square_zero_entry n y i zero below). ring.
  - assert (0 < square n y) by lra.
    apply Rmult_le_reg_l with (square n y); [assumption|]. nra.
Qed.

Lemma norm_nonneg n x : 0 <= norm n x.
Proof. apply sqrt_pos. Qed.

Lemma norm_square n x : norm n x ^ 2 = square n x.
Proof. unfold norm. simpl. rewrite Rmult_1_r. apply sqrt_def, square_nonneg. Qed.

Lemma dot_norm n x y : dot n x y <= norm n x * norm n y.
Proof.
  pose proof (cauchy_schwarz n x y) as known. rewrite <- !norm_square in known.
  pose proof (norm_nonneg n x). pose proof (norm_nonneg n y).
  apply Rsqr_incr_0_var; [unfold Rsqr; nra | nra].
Qed.

Theorem norm_triangle n x y : norm n (vplus x y) <= norm n x + norm n y.
Proof.
  pose proof (norm_nonneg n x). pose proof (norm_nonneg n y). pose proof (dot_norm n x y).
  apply Rsqr_incr_0_var; [|lra]. unfold Rsqr.
  pose proof (norm_square n (vplus x y)) as whole. rewrite square_plus, <- !norm_square in whole. nra.
Qed.

Lemma norm_scal n c x : norm n (vscal c x) = Rabs c * norm n x.
Proof.
  apply Rsqr_inj; [apply norm_nonneg | apply Rmult_le_pos; [apply Rabs_pos | apply norm_nonneg] |].
  rewrite Rsqr_mult, <- Rsqr_abs, !Rsqr_pow2, !norm_square, square_scal. ring.
Qed.

(** Squares and norms are compared alike. *)
Lemma norm_le n m x y c : 0 <= c -> (norm m y <= c * norm n x <-> square m y <= c ^ 2 * square n x).
Proof.
  intros nonneg. rewrite <- !norm_square.
  pose proof (norm_nonneg n x). pose proof (norm_nonneg m y).
  assert (0 <= c * norm n x) by nra. split; intros known; [nra|].
  apply Rsqr_incr_0_var; [unfold Rsqr; nra | assumption].
Qed.

(** ** Matrices *)

Lemma apply_ext n A x y i : (forall j, (j < n)%nat -> x j = y j) -> apply n A x i = apply n A y i.
Proof. intros same. apply dot_ext; auto. Qed.

Lemma apply_plus n A x y i : apply n A (vplus x y) i = apply n A x i + apply n A y i.
Proof. apply dot_plus_r. Qed.

Lemma apply_minus n A x y i : apply n A (vminus x y) i = apply n A x i - apply n A y i.
Proof. apply dot_minus_r. Qed.

Lemma apply_scal n A c x i : apply n A (vscal c x) i = c * apply n A x i.
Proof. apply dot_scal_r. Qed.

(** <A x, y> = <x, A^T y>. *)
Theorem adjoint n m A x y : dot m (apply n A x) y = dot n x (apply m (transpose A) y).
Proof.
  unfold dot, apply, transpose, dot.
  rewrite (sum_ext m _ (fun i => sum n (fun j => A i j * x j * y i)))
    by (intros i _; rewrite sum_scal_r; reflexivity).
  rewrite sum_swap. apply sum_ext; intros j _. rewrite <- sum_scal. apply sum_ext; intros i _. ring.
Qed.

Lemma bounded_le n m A s t : bounded n m A s -> s <= t -> bounded n m A t.
Proof. intros known below x. pose proof (known x). pose proof (square_nonneg n x). nra. Qed.

(** A matrix and its transpose have the same norm. *)
Theorem bounded_transpose n m A s : 0 <= s -> bounded n m A s -> bounded m n (transpose A) s.
Proof.
  intros nonneg known y. set (z := apply m (transpose A) y).
  pose proof (square_nonneg n z) as Hz. pose proof (square_nonneg m y) as Hy.
  assert (square n z = dot m (apply n A z) y) as same by (rewrite adjoint; reflexivity).
  pose proof (cauchy_schwarz m (apply n A z) y) as cs. rewrite <- same in cs.
  pose proof (known z) as step.
  assert (square n z ^ 2 <= s * square n z * square m y).
  { eapply Rle_trans; [exact cs|]. apply Rmult_le_compat_r; assumption. }
  destruct (Req_dec (square n z) 0) as [zero|positive]; [rewrite zero; nra|].
  apply Rmult_le_reg_l with (square n z); [lra|]. nra.
Qed.
