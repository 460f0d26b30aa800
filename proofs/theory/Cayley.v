(** Steps along a skew linear field x' = A x + c, <A x, x> = 0: the midpoint step is an isometry.

    The midpoint step is y = x + A (x + y) / 2 + c; with c = 0 it is the Cayley transform,
    (I - A / 2) y = (I + A / 2) x. The explicit Euler step x + h A x expands every x with h A x <> 0.

    Not said: that y exists (I - A / 2 is injective, which is shown, hence invertible, which is not), anything of a
    solver that stops early, or of the exact flow exp(A). *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz.
Open Scope R_scope.

(** <A x, x> = 0 for all x of length n. *)
Definition skew (n : nat) (A : mat) : Prop := forall x, dot n (apply n A x) x = 0.

(** A^T = - A is enough. *)
Lemma skew_transpose n A :
  (forall i j, (i < n)%nat -> (j < n)%nat -> A j i = - A i j) -> skew n A.
Proof.
  intros opposite x.
  assert (dot n (apply n A x) x = - dot n (apply n A x) x) as even; [|lra].
  rewrite adjoint at 1. rewrite (dot_sym n (apply n A x)). unfold dot. rewrite <- sum_opp.
  apply sum_ext; intros i below_i. rewrite Ropp_mult_distr_r. f_equal. unfold apply, dot. rewrite <- sum_opp.
  apply sum_ext; intros j below_j. unfold transpose. rewrite (opposite i j) by assumption. ring.
Qed.

(** y is the midpoint step from x: y = x + A (x + y) / 2 + c, that is (I - A / 2) y = (I + A / 2) x + c. *)
Definition midpoint (n : nat) (A : mat) (c x y : vec) : Prop :=
  forall i, (i < n)%nat -> y i - apply n A y i / 2 = x i + apply n A x i / 2 + c i.

(** The Cayley transform keeps the norm: <y - x, y + x> = <A (x + y) / 2, x + y> = 0. *)
Theorem cayley_norm n A x y : skew n A -> midpoint n A vzero x y -> square n y = square n x.
Proof.
  intros turning step.
  assert (dot n (vminus y x) (vplus x y) = 0) as orthogonal.
  { rewrite (dot_ext n _ (vscal (/ 2) (apply n A (vplus x y))) _ (vplus x y)); [| |reflexivity].
    - rewrite dot_scal_l, turning. ring.
    - intros i below. specialize (step i below). unfold vminus, vscal, vzero in *. rewrite apply_plus. lra. }
  rewrite dot_plus_r, !dot_minus_l, (dot_sym n y x) in orthogonal. fold (square n x) (square n y) in orthogonal. lra.
Qed.

(** The midpoint step is an isometry, with a constant field c too: the difference of two steps is a Cayley
    transform. *)
Theorem midpoint_isometry n A c x y x' y' :
  skew n A -> midpoint n A c x y -> midpoint n A c x' y' -> square n (vminus y y') = square n (vminus x x').
Proof.
  intros turning here there. apply (cayley_norm n A); [exact turning|]. intros i below.
  specialize (here i below). specialize (there i below). rewrite !apply_minus. unfold vminus, vzero. lra.
Qed.

(** Any map that solves the midpoint step is 1-Lipschitz from l2 to l2. *)
Corollary lipschitz_midpoint n A c solution :
  skew n A -> (forall x, midpoint n A c x (solution x)) -> lipschitz n n 1 solution.
Proof.
  intros turning solves. split; [lra|]. intros x y.
  rewrite (midpoint_isometry n A c x (solution x) y (solution y) turning (solves x) (solves y)). lra.
Qed.

(** At most one y is the midpoint step from x. *)
Corollary midpoint_unique n A c x y y' :
  skew n A -> midpoint n A c x y -> midpoint n A c x y' -> forall i, (i < n)%nat -> y i = y' i.
Proof.
  intros turning here there i below.
  assert (vminus y y' i = 0) as same.
  { apply (square_zero_entry n); [|exact below]. rewrite (midpoint_isometry n A c x y x y' turning here there).
    apply square_zero; intros j _. unfold vminus. ring. }
  unfold vminus in same. lra.
Qed.

(** The explicit Euler step on a skew field expands: ||x + h A x||^2 = ||x||^2 + h^2 ||A x||^2. *)
Theorem euler_skew_expands n A h x :
  skew n A -> square n (vplus x (vscal h (apply n A x))) = square n x + h ^ 2 * square n (apply n A x).
Proof.
  intros turning. rewrite square_plus, square_scal, dot_scal_r, (dot_sym n x), turning. ring.
Qed.
