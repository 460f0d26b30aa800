(** Steps along the gradient of a convex function: cocoercivity, the explicit Euler step, and splitting.

    [cocoercive n L g]: ||g x - g y||^2 <= L <g x - g y, x - y> for all x, y of length n. The gradient of a convex
    function with L-Lipschitz gradient is so (Baillon and Haddad, 1977), and with it the explicit Euler step
    x - h g x is 1-Lipschitz for 0 <= h, h L <= 2. The Convex Potential Layer is such a step for a sum of ridge
    functions (Meunier et al., 2022).

    Gradients enter by their two inequalities: nothing is said of derivatives, of the function that has g as its
    gradient, of flows in continuous time, or of larger h (the step may then expand). *)

From Coq Require Import Arith Reals List Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz.
Import ListNotations.
Open Scope R_scope.

(** <g x - g y, x - y> >= 0 for all x, y. *)
Definition monotone (n : nat) (g : vec -> vec) : Prop :=
  forall x y, 0 <= dot n (vminus (g x) (g y)) (vminus x y).

Definition cocoercive (n : nat) (L : R) (g : vec -> vec) : Prop :=
  forall x y, square n (vminus (g x) (g y)) <= L * dot n (vminus (g x) (g y)) (vminus x y).

(** Cocoercive maps are monotone. *)
Lemma cocoercive_monotone n L g : 0 <= L -> cocoercive n L g -> monotone n g.
Proof.
  intros nonneg known x y. specialize (known x y).
  set (w := vminus (g x) (g y)) in *. pose proof (square_nonneg n w).
  destruct (Req_dec L 0) as [zero|positive].
  - rewrite zero in known. assert (square n w = 0) as none by lra.
    right. symmetry. apply sum_zero; intros i below. rewrite (square_zero_entry n w i none below). ring.
  - apply Rmult_le_reg_l with L; lra.
Qed.

Lemma cocoercive_le n L K g : 0 <= L -> L <= K -> cocoercive n L g -> cocoercive n K g.
Proof.
  intros nonneg below known x y. pose proof (known x y). pose proof (cocoercive_monotone n L g nonneg known x y). nra.
Qed.

(** Cocoercive maps are Lipschitz with the same constant. *)
Lemma cocoercive_lipschitz n L g : 0 <= L -> cocoercive n L g -> lipschitz n n L g.
Proof.
  intros nonneg known. apply lipschitz_norm. split; [exact nonneg|]. intros x y.
  pose proof (known x y) as step. rewrite <- norm_square in step.
  set (w := vminus (g x) (g y)) in *. set (d := vminus x y) in *.
  pose proof (dot_norm n w d). pose proof (norm_nonneg n w). pose proof (norm_nonneg n d).
  assert (0 <= L * norm n d) by (apply Rmult_le_pos; assumption).
  destruct (Req_dec (norm n w) 0) as [zero|positive]; [lra|].
  assert (L * dot n w d <= L * (norm n w * norm n d)) by (apply Rmult_le_compat_l; assumption).
  apply Rmult_le_reg_l with (norm n w); lra.
Qed.

(** ** Gradients of convex functions *)
Section Gradient.
  Variables (n : nat) (f : vec -> R) (g : vec -> vec) (L : R).
  Hypothesis positive : 0 < L.
  Hypothesis convex : forall x y, f x + dot n (g x) (vminus y x) <= f y.
  Hypothesis smooth :
    forall x y, f y <= f x + dot n (g x) (vminus y x) + L / 2 * square n (vminus y x).

  (** f is above its tangent at x by at least ||g y - g x||^2 / 2 L: compare f at z = y - (g y - g x) / L with the
      tangent at x (convexity) and the parabola at y (smoothness). *)
  Lemma above_tangent x y :
    f x + dot n (g x) (vminus y x) + / (2 * L) * square n (vminus (g y) (g x)) <= f y.
  Proof.
    set (w := vminus (g y) (g x)). set (z := vminus y (vscal (/ L) w)).
    assert (dot n (g x) (vminus z x) = dot n (g x) (vminus y x) - / L * dot n (g x) w) as tangent
      by (unfold z; expand; ring).
    assert (forall i, (i < n)%nat -> vminus z y i = vscal (- / L) w i) as move
      by (intros i _; unfold z, vminus, vscal; ring).
    pose proof (convex x z) as low. pose proof (smooth y z) as high.
    rewrite (square_ext n _ _ move), square_scal in high.
    rewrite (dot_ext n (g y) (g y) _ _ (fun i _ => eq_refl) move), dot_scal_r in high.
    assert (square n w = dot n (g y) w - dot n (g x) w) as parts by (unfold square; apply dot_minus_l).
    assert (L / 2 * ((- / L) ^ 2 * square n w) = / L * square n w - / (2 * L) * square n w) as parabola
      by (field; lra).
    assert (/ L * square n w = / L * dot n (g y) w - / L * dot n (g x) w) by (rewrite parts; ring).
    lra.
  Qed.

  (** Baillon-Haddad: the gradient of a convex L-smooth function is cocoercive, (1 / L) ||g x - g y||^2 <= <g x - g
      y, x - y>. *)
  Theorem baillon_haddad x y :
    / L * square n (vminus (g x) (g y)) <= dot n (vminus (g x) (g y)) (vminus x y).
  Proof.
    pose proof (above_tangent x y) as at_x. pose proof (above_tangent y x) as at_y.
    assert (square n (vminus (g y) (g x)) = square n (vminus (g x) (g y))) as even
      by (rewrite !square_minus, (dot_sym n (g x) (g y)); ring).
    assert (/ L * square n (vminus (g x) (g y)) = 2 * (/ (2 * L) * square n (vminus (g x) (g y)))) by (field; lra).
    rewrite even in at_x.
    replace (dot n (vminus (g x) (g y)) (vminus x y))
      with (- dot n (g x) (vminus y x) - dot n (g y) (vminus x y)) by (expand; ring).
    lra.
  Qed.

  Corollary gradient_cocoercive : cocoercive n L g.
  Proof.
    intros x y. pose proof (baillon_haddad x y) as known.
    apply Rmult_le_compat_l with (r := L) in known; [|lra].
    rewrite <- Rmult_assoc, Rinv_r in known by lra. lra.
  Qed.
End Gradient.

(** Gradients of convex functions are monotone, smooth or not. *)
Lemma gradient_monotone n f g :
  (forall x y, f x + dot n (g x) (vminus y x) <= f y) -> monotone n g.
Proof.
  intros convex x y. pose proof (convex x y). pose proof (convex y x).
  replace (dot n (vminus (g x) (g y)) (vminus x y))
    with (- dot n (g x) (vminus y x) - dot n (g y) (vminus x y)) by (expand; ring).
  lra.
Qed.

(** ** The explicit Euler step *)

(** x - h g x. *)
Definition euler (h : R) (g : vec -> vec) (x : vec) : vec := vminus x (vscal h (g x)).

(** a x - h g x is a-Lipschitz where h L <= 2 a: ||a d - h w||^2 <= a^2 ||d||^2 - h (2 a - h L) <w, d>. *)
Theorem lipschitz_damped_euler n L a h g :
  0 <= L -> cocoercive n L g -> 0 <= a -> 0 <= h -> h * L <= 2 * a ->
  lipschitz n n a (fun x => vminus (vscal a x) (vscal h (g x))).
Proof.
  intros nonneg known damp forward small. split; [exact damp|]. intros x y.
  pose proof (known x y) as step. pose proof (cocoercive_monotone n L g nonneg known x y) as along.
  set (w := vminus (g x) (g y)) in *. set (d := vminus x y) in *.
  rewrite (square_ext n _ (vminus (vscal a d) (vscal h w))) by (intros i _; unfold d, w, vminus, vscal; ring).
  rewrite square_minus, !square_scal, dot_scal_l, dot_scal_r, (dot_sym n d w).
  assert (h ^ 2 * square n w <= h ^ 2 * (L * dot n w d)) by (apply Rmult_le_compat_l; [nra | exact step]).
  assert (0 <= h * (2 * a - h * L) * dot n w d) by (repeat apply Rmult_le_pos; lra).
  nra.
Qed.

(** The explicit Euler step of a cocoercive map is 1-Lipschitz from l2 to l2 for 0 <= h, h L <= 2. *)
Theorem lipschitz_euler n L h g :
  0 <= L -> cocoercive n L g -> 0 <= h -> h * L <= 2 -> lipschitz n n 1 (euler h g).
Proof.
  intros nonneg known forward small.
  apply lipschitz_ext with (fun x => vminus (vscal 1 x) (vscal h (g x))).
  - intros x i _. unfold euler, vminus, vscal. ring.
  - apply lipschitz_damped_euler with L; lra || assumption.
Qed.

(** The same of the gradient of a convex L-smooth function, h <= 2 / L. *)
Corollary lipschitz_gradient_step n f g L h :
  0 < L -> (forall x y, f x + dot n (g x) (vminus y x) <= f y) ->
  (forall x y, f y <= f x + dot n (g x) (vminus y x) + L / 2 * square n (vminus y x)) ->
  0 <= h <= 2 / L -> lipschitz n n 1 (euler h g).
Proof.
  intros positive convex smooth [forward small].
  apply lipschitz_euler with L; [lra | apply gradient_cocoercive with f; assumption | exact forward |].
  apply Rmult_le_compat_r with (r := L) in small; [|lra].
  unfold Rdiv in small. rewrite Rmult_assoc, Rinv_l in small by lra. lra.
Qed.

(** ** Ridge potentials: f x = sum_i phi_i (w_i . x + b_i) with phi_i' = sigma_i has the gradient W^T sigma(W x + b) *)

(** W^T sigma(W x + b), W of k rows and n columns. *)
Definition ridge (n k : nat) (W : mat) (b : vec) (sigma : nat -> R -> R) (x : vec) : vec :=
  apply k (transpose W) (fun i => sigma i (apply n W x i + b i)).

(** With slopes in [0, 1] and ||W||^2 <= L the gradient of a ridge potential is cocoercive with L. *)
Theorem ridge_cocoercive n k W b sigma L :
  0 <= L -> bounded n k W L -> (forall i, (i < k)%nat -> slopes 0 1 (sigma i)) -> cocoercive n L (ridge n k W b sigma).
Proof.
  intros nonneg known each x y. set (d := vminus x y).
  set (v := fun i => sigma i (apply n W x i + b i) - sigma i (apply n W y i + b i)).
  assert (forall j, (j < n)%nat ->
    vminus (ridge n k W b sigma x) (ridge n k W b sigma y) j = apply k (transpose W) v j) as difference.
  { intros j _. unfold ridge. symmetry.
    exact (apply_minus k (transpose W) (fun i => sigma i (apply n W x i + b i))
      (fun i => sigma i (apply n W y i + b i)) j). }
  rewrite (square_ext n _ _ difference), (dot_ext n _ _ d d difference (fun i _ => eq_refl)).
  rewrite (dot_sym n _ d), <- adjoint, dot_sym.
  apply Rle_trans with (L * square k v).
  - apply bounded_transpose; assumption.
  - apply Rmult_le_compat_l; [exact nonneg|]. apply sum_le; intros i below.
    unfold d. rewrite apply_minus. unfold v.
    destruct (slopes_between 0 1 (sigma i) (apply n W x i + b i) (apply n W y i + b i)) as (t & between & ->);
      [lra | auto |].
    assert (0 <= t * (1 - t)) by nra. pose proof (Rle_0_sqr (apply n W x i - apply n W y i)). unfold Rsqr in *. nra.
Qed.

(** The Convex Potential Layer x - h W^T sigma(W x + b) is the explicit Euler step of its potential: 1-Lipschitz for
    0 <= h, h ||W||^2 <= 2. *)
Corollary lipschitz_potential_step n k W b sigma h L :
  0 <= L -> bounded n k W L -> (forall i, (i < k)%nat -> slopes 0 1 (sigma i)) -> 0 <= h -> h * L <= 2 ->
  lipschitz n n 1 (euler h (ridge n k W b sigma)).
Proof. intros nonneg known each. apply lipschitz_euler; [exact nonneg | apply ridge_cocoercive; assumption]. Qed.

(** ** Splitting: steps that are 1-Lipschitz one by one are so one after the other *)

Definition splitting (steps : list (vec -> vec)) (x : vec) : vec := fold_left (fun z step => step z) steps x.

Theorem lipschitz_splitting n steps : Forall (lipschitz n n 1) steps -> lipschitz n n 1 (splitting steps).
Proof.
  induction steps as [|step rest IH]; intros each; [apply lipschitz_identity|].
  inversion each as [|? ? first others]; subst.
  apply lipschitz_le with (1 * 1); [|lra].
  exact (lipschitz_compose n n n 1 1 step (splitting rest) first (IH others)).
Qed.
