(** The implicit Euler step (proximal step) of a monotone map, and its truncated iteration.

    y + h g y = x. The map x -> y is 1-Lipschitz for every h >= 0. The iteration of a fixed number k of damped steps
    y <- (1 - tau) y + tau (x - h g y) from y = x is 1-Lipschitz for every k where g is cocoercive with L and
    tau (2 + h L) <= 2.

    Not said: that a y with y + h g y = x exists, that the iteration converges to it or how fast, or anything of an
    iteration that stops by its residual: the number of steps then depends on x, and the map need not be
    1-Lipschitz, nor continuous. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Flow.
Open Scope R_scope.

(** y solves the implicit step at x: y + h g y = x. *)
Definition implicit_euler (n : nat) (h : R) (g : vec -> vec) (x y : vec) : Prop :=
  forall i, (i < n)%nat -> y i + h * g y i = x i.

(** ||y - y'|| <= ||x - x'|| for solutions of any two implicit steps: ||d||^2 = ||e||^2 + 2 h <w, e> + h^2 ||w||^2. *)
Theorem implicit_euler_nonexpansive n h g x y x' y' :
  monotone n g -> 0 <= h -> implicit_euler n h g x y -> implicit_euler n h g x' y' ->
  square n (vminus y y') <= square n (vminus x x').
Proof.
  intros along forward here there. specialize (along y y').
  set (w := vminus (g y) (g y')) in *. set (e := vminus y y') in *.
  rewrite (square_ext n (vminus x x') (vplus e (vscal h w))).
  - rewrite square_plus, square_scal, dot_scal_r, (dot_sym n e w).
    pose proof (square_nonneg n w). assert (0 <= h * dot n w e) by (apply Rmult_le_pos; assumption).
    assert (0 <= h ^ 2 * square n w) by (apply Rmult_le_pos; [nra | assumption]). lra.
  - intros i below. unfold e, w, vplus, vscal, vminus. rewrite <- (here i below), <- (there i below). ring.
Qed.

(** Any map that solves the step is 1-Lipschitz from l2 to l2, whatever h >= 0. *)
Corollary lipschitz_implicit_euler n h g solution :
  monotone n g -> 0 <= h -> (forall x, implicit_euler n h g x (solution x)) -> lipschitz n n 1 solution.
Proof.
  intros along forward solves. split; [lra|]. intros x y.
  pose proof (implicit_euler_nonexpansive n h g x (solution x) y (solution y) along forward (solves x) (solves y)). lra.
Qed.

(** At most one y solves the step. *)
Corollary implicit_euler_unique n h g x y y' :
  monotone n g -> 0 <= h -> implicit_euler n h g x y -> implicit_euler n h g x y' ->
  forall i, (i < n)%nat -> y i = y' i.
Proof.
  intros along forward here there i below.
  pose proof (implicit_euler_nonexpansive n h g x y x y' along forward here there) as near.
  pose proof (square_nonneg n (vminus y y')).
  assert (square n (vminus x x) = 0) by (apply square_zero; intros j _; unfold vminus; ring).
  assert (vminus y y' i = 0) as same by (apply (square_zero_entry n); [lra | exact below]).
  unfold vminus in same. lra.
Qed.

(** ** A fixed number of damped steps *)

(** y_0 = x, y_(k + 1) = (1 - tau) y_k + tau (x - h g y_k). *)
Fixpoint damped (tau h : R) (g : vec -> vec) (k : nat) (x : vec) : vec :=
  match k with
  | O => x
  | S k => let y := damped tau h g k x in vplus (vscal (1 - tau) y) (vscal tau (vminus x (vscal h (g y))))
  end.

(** Every truncation is 1-Lipschitz from l2 to l2: the part in y, (1 - tau) y - tau h g y, has the constant 1 - tau,
    the part in x has tau. *)
Theorem lipschitz_damped n L tau h g k :
  0 <= L -> cocoercive n L g -> 0 <= h -> 0 <= tau -> tau * (2 + h * L) <= 2 ->
  lipschitz n n 1 (damped tau h g k).
Proof.
  intros nonneg known forward damping small.
  assert (0 <= h * L) by (apply Rmult_le_pos; assumption).
  assert (0 <= tau * (h * L)) by (apply Rmult_le_pos; assumption).
  induction k as [|k IH]; [apply lipschitz_identity|].
  assert (lipschitz n n (1 - tau) (fun y => vminus (vscal (1 - tau) y) (vscal (tau * h) (g y)))) as inner
    by (apply lipschitz_damped_euler with L; try assumption; [lra | apply Rmult_le_pos; assumption | lra]).
  pose proof (lipschitz_compose n n n 1 (1 - tau) _ _ IH inner) as in_y.
  pose proof (lipschitz_scal n n 1 tau _ (lipschitz_identity n)) as in_x. rewrite Rabs_right in in_x by lra.
  pose proof (lipschitz_plus n n _ _ _ _ in_y in_x) as both.
  apply lipschitz_le with ((1 - tau) * 1 + tau * 1); [|lra].
  revert both. apply lipschitz_ext. intros x i _. cbn. unfold vplus, vminus, vscal. ring.
Qed.

(** The same of a ridge potential: g x = W^T sigma(W x + b), slopes in [0, 1], ||W||^2 <= L. *)
Corollary lipschitz_damped_ridge n k W b sigma L tau h steps :
  0 <= L -> bounded n k W L -> (forall i, (i < k)%nat -> slopes 0 1 (sigma i)) ->
  0 <= h -> 0 <= tau -> tau * (2 + h * L) <= 2 ->
  lipschitz n n 1 (damped tau h (ridge n k W b sigma) steps).
Proof.
  intros nonneg known each. apply lipschitz_damped; [exact nonneg | apply ridge_cocoercive; assumption].
Qed.

(** A fixed point of the iteration (tau > 0) solves the implicit step. *)
Lemma damped_fixed_point n tau h g x y :
  0 < tau ->
  (forall i, (i < n)%nat -> vplus (vscal (1 - tau) y) (vscal tau (vminus x (vscal h (g y)))) i = y i) ->
  implicit_euler n h g x y.
Proof.
  intros positive fixed i below. specialize (fixed i below). unfold vplus, vscal, vminus in fixed.
  apply Rmult_eq_reg_l with tau; lra.
Qed.
