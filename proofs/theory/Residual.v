(** Residual blocks of a convex potential: x + c A^T sigma(A x + b), the Convex Potential Layer where c = -h.

    For any sigma with slopes in [alpha, beta], applied to every entry, and ||A||^2 <= s, the block has the constant
    max(|1 + lo|, |1 + hi|), [lo, hi] the least interval with 0, c alpha s and c beta s. With slopes in [0, 1] and c = -h that
    is max(1, h s - 1): 1 where h s <= 2. The branch uses one matrix A twice, A and its transpose. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz.
Open Scope R_scope.

Lemma Rabs_between a b : Rabs a <= b -> - b <= a <= b.
Proof. unfold Rabs. destruct (Rcase_abs a); lra. Qed.

(** ** A symmetric linear map is bounded by its quadratic form *)
Section Symmetric.
  Variables (n : nat) (M : vec -> vec) (r : R).
  Hypothesis linear : forall u v a w,
    dot n (M (vplus u (vscal a v))) w = dot n (M u) w + a * dot n (M v) w.
  Hypothesis symmetric : forall u v, dot n (M u) v = dot n u (M v).
  Hypothesis quadratic : forall u, Rabs (dot n (M u) u) <= r * square n u.

  (** 4 <M u, v> = <M (u + v), u + v> - <M (u - v), u - v>, so 2 a <M u, v> <= r (|u|^2 + a^2 |v|^2). *)
  Lemma polarisation u v a : 2 * a * dot n (M u) v <= r * (square n u + a ^ 2 * square n v).
  Proof.
    pose proof (quadratic (vplus u (vscal a v))) as plus.
    pose proof (quadratic (vplus u (vscal (- a) v))) as minus.
    rewrite square_plus, square_scal, dot_scal_r, linear, !dot_plus_r, !dot_scal_r in plus.
    rewrite square_plus, square_scal, dot_scal_r, linear, !dot_plus_r, !dot_scal_r in minus.
    rewrite (symmetric v u), (dot_sym n v (M u)) in plus, minus.
    apply Rabs_between in plus, minus. lra.
  Qed.

  Lemma symmetric_bound u : 0 <= r -> square n (M u) <= r ^ 2 * square n u.
  Proof.
    intros nonneg. pose proof (square_nonneg n u). pose proof (square_nonneg n (M u)).
    destruct (Req_dec r 0) as [zero|positive].
    - pose proof (polarisation u (M u) 1) as known. fold (square n (M u)) in known. rewrite zero in *. lra.
    - pose proof (polarisation u (M u) (/ r)) as known. fold (square n (M u)) in known.
      apply Rmult_le_compat_l with (r := r) in known; [|exact nonneg].
      replace (r * (2 * / r * square n (M u))) with (2 * square n (M u)) in known by (field; exact positive).
      replace (r * (r * (square n u + (/ r) ^ 2 * square n (M u))))
        with (r ^ 2 * square n u + square n (M u)) in known by (field; exact positive).
      lra.
  Qed.
End Symmetric.

(** One slope for every entry: a choice among finitely many. *)
Lemma finite_choice m (P : nat -> R -> Prop) :
  (forall i, (i < m)%nat -> exists t, P i t) -> exists t, forall i, (i < m)%nat -> P i (t i).
Proof.
  induction m as [|m IH]; intros each.
  - exists (fun _ => 0). intros i below. lia.
  - destruct IH as [t known]; [intros; apply each; lia|]. destruct (each m) as [last known_last]; [lia|].
    exists (fun i => if Nat.eqb i m then last else t i). intros i below.
    destruct (Nat.eqb_spec i m) as [->|other]; [exact known_last | apply known; lia].
Qed.

(** ** The block *)

(** x + c A^T sigma(A x + b), A of m rows and n columns. *)
Definition block (n m : nat) (A : mat) (c : R) (sigma : nat -> R -> R) (b : vec) (x : vec) : vec :=
  vplus x (vscal c (apply m (transpose A) (fun i => sigma i (vplus (apply n A x) b i)))).

(** u + c A^T T A u, T diagonal: what the block does to a difference u of two inputs. *)
Definition step (n m : nat) (A : mat) (c : R) (t : vec) (u : vec) : vec :=
  vplus u (vscal c (apply m (transpose A) (fun i => t i * apply n A u i))).

Lemma dot_step n m A c t u v :
  dot n (step n m A c t u) v = dot n u v + c * sum m (fun i => t i * apply n A u i * apply n A v i).
Proof.
  unfold step. rewrite dot_plus_l, dot_scal_l, (dot_sym n (apply m (transpose A) _)), <- adjoint.
  f_equal. f_equal. apply sum_ext; intros i _. ring.
Qed.

Lemma step_linear n m A c t u v a w :
  dot n (step n m A c t (vplus u (vscal a v))) w = dot n (step n m A c t u) w + a * dot n (step n m A c t v) w.
Proof.
  rewrite !dot_step, dot_plus_l, dot_scal_l.
  rewrite (sum_ext m _ (fun i => t i * apply n A u i * apply n A w i + a * (t i * apply n A v i * apply n A w i)))
    by (intros i _; rewrite apply_plus, apply_scal; ring).
  rewrite sum_plus, sum_scal. ring.
Qed.

Lemma step_symmetric n m A c t u v : dot n (step n m A c t u) v = dot n u (step n m A c t v).
Proof.
  rewrite (dot_sym n u), !dot_step, (dot_sym n v u). f_equal. f_equal. apply sum_ext; intros i _. ring.
Qed.

(** Its quadratic form lies between 1 + lo and 1 + hi times |u|^2. *)
Lemma step_quadratic n m A c t s lo hi u :
  bounded n m A s -> 0 <= s -> lo <= 0 <= hi -> (forall i, (i < m)%nat -> lo <= c * t i * s <= hi) ->
  (1 + lo) * square n u <= dot n (step n m A c t u) u <= (1 + hi) * square n u.
Proof.
  intros known nonneg hull between. rewrite dot_step. fold (square n u).
  pose proof (known u) as image. pose proof (square_nonneg n u) as Hu.
  set (w := apply n A u) in *. pose proof (square_nonneg m w) as Hw.
  destruct (Req_dec s 0) as [zero|positive].
  - (* A u = 0 *)
    rewrite zero in image. assert (square m w = 0) as none by nra.
    rewrite (sum_zero m) by (intros i below; rewrite (square_zero_entry m w i none below); ring). nra.
  - (* c t_i = k_i / s with lo <= k_i <= hi, and |w|^2 <= s |u|^2 *)
    assert (forall b, b * square m w = sum m (fun i => b * (w i * w i))) as spread
      by (intros b; unfold square, dot; rewrite sum_scal; reflexivity).
    assert (0 < s) by lra. assert (0 < / s) as inverse by (apply Rinv_0_lt_compat; assumption).
    assert (forall i, (i < m)%nat -> lo * / s <= c * t i <= hi * / s) as each.
    { intros i below. specialize (between i below).
      split; (apply Rmult_le_reg_r with s; [assumption|]).
      - rewrite Rmult_assoc, Rinv_l by exact positive. lra.
      - rewrite (Rmult_assoc hi), Rinv_l by exact positive. lra. }
    assert (lo * / s * square m w <= c * sum m (fun i => t i * w i * w i)) as low.
    { rewrite spread, <- sum_scal. apply sum_le; intros i below. specialize (each i below). nra. }
    assert (c * sum m (fun i => t i * w i * w i) <= hi * / s * square m w) as high.
    { rewrite spread, <- sum_scal. apply sum_le; intros i below. specialize (each i below). nra. }
    assert (/ s * square m w <= square n u) as small.
    { apply Rmult_le_reg_l with s; [assumption|]. rewrite <- Rmult_assoc, Rinv_r by exact positive. lra. }
    assert (0 <= / s * square m w) by nra. nra.
Qed.

Theorem step_bound n m A c t s alpha beta lo hi r u :
  bounded n m A s -> 0 <= s -> (forall i, (i < m)%nat -> alpha <= t i <= beta) ->
  lo <= 0 <= hi -> lo <= c * alpha * s <= hi -> lo <= c * beta * s <= hi ->
  Rabs (1 + lo) <= r -> Rabs (1 + hi) <= r ->
  square n (step n m A c t u) <= r ^ 2 * square n u.
Proof.
  intros known nonneg inside hull at_alpha at_beta low high. pose proof (Rabs_pos (1 + lo)).
  apply (symmetric_bound n (step n m A c t) r); [apply step_linear | apply step_symmetric | | lra].
  intros v.
  assert (forall i, (i < m)%nat -> lo <= c * t i * s <= hi) as between.
  { intros i below. specialize (inside i below).
    replace (c * t i * s) with (c * s * t i) by ring.
    replace (c * alpha * s) with (c * s * alpha) in at_alpha by ring.
    replace (c * beta * s) with (c * s * beta) in at_beta by ring.
    destruct (Rle_or_lt 0 (c * s)); split; nra. }
  pose proof (step_quadratic n m A c t s lo hi v known nonneg hull between) as form.
  pose proof (square_nonneg n v). apply Rabs_le. unfold Rabs in low, high.
  destruct (Rcase_abs (1 + lo)), (Rcase_abs (1 + hi)); nra.
Qed.

Theorem lipschitz_block n m A c sigma b alpha beta s lo hi u :
  bounded n m A s -> 0 <= s -> alpha <= beta -> (forall i, (i < m)%nat -> slopes alpha beta (sigma i)) ->
  lo <= 0 <= hi -> lo <= c * alpha * s <= hi -> lo <= c * beta * s <= hi ->
  Rabs (1 + lo) <= u -> Rabs (1 + hi) <= u ->
  lipschitz n n u (block n m A c sigma b).
Proof.
  intros known nonneg order each hull at_alpha at_beta low high.
  pose proof (Rabs_pos (1 + lo)). split; [lra|]. intros x y.
  set (before z := vplus (apply n A z) b).
  destruct (finite_choice m (fun i t =>
    alpha <= t <= beta /\ sigma i (before x i) - sigma i (before y i) = t * (before x i - before y i)))
    as [t slope].
  { intros i below. apply slopes_between; auto. }
  rewrite (square_ext n _ (step n m A c t (vminus x y))).
  - apply (step_bound n m A c t s alpha beta lo hi u); auto. intros i below. apply (slope i below).
  - intros j _. unfold block, step, vplus, vminus, vscal, apply, transpose.
    replace (x j + c * dot m _ _ - (y j + c * dot m _ _)) with (x j - y j + c * (dot m (fun i => A i j)
      (fun i => sigma i (before x i)) - dot m (fun i => A i j) (fun i => sigma i (before y i))))
      by (unfold before, vplus, apply; ring).
    rewrite <- dot_minus_r. f_equal. f_equal. apply dot_ext; [reflexivity|]. intros i below.
    unfold vminus at 1. destruct (slope i below) as [_ ->].
    change (t i * dot n (A i) (fun k => x k - y k)) with (t i * dot n (A i) (vminus x y)).
    rewrite dot_minus_r. unfold before, vplus, apply. ring.
Qed.

(** ** The Convex Potential Layer: c = -h, slopes in [0, 1] *)

Theorem lipschitz_potential n m W h sigma b s :
  bounded n m W s -> 0 <= s -> 0 <= h -> (forall i, (i < m)%nat -> slopes 0 1 (sigma i)) ->
  lipschitz n n (Rmax 1 (h * s - 1)) (block n m W (- h) sigma b).
Proof.
  intros known nonneg positive each.
  pose proof (Rmax_l 1 (h * s - 1)). pose proof (Rmax_r 1 (h * s - 1)).
  assert (0 <= h * s) by nra.
  apply lipschitz_block with (alpha := 0) (beta := 1) (s := s) (lo := - (h * s)) (hi := 0); auto; try lra.
  - apply Rabs_le. lra.
  - rewrite Rplus_0_r, Rabs_R1. assumption.
Qed.

(** 1-Lipschitz where h ||W||^2 <= 2. *)
Corollary potential_nonexpansive n m W h sigma b s :
  bounded n m W s -> 0 <= s -> 0 <= h -> h * s <= 2 -> (forall i, (i < m)%nat -> slopes 0 1 (sigma i)) ->
  lipschitz n n 1 (block n m W (- h) sigma b).
Proof.
  intros known nonneg positive small each.
  rewrite <- (Rmax_left 1 (h * s - 1)) by lra. apply lipschitz_potential; assumption.
Qed.

(** ** Cocoercivity, for the case of slopes in [0, 1]: |sigma p - sigma q|^2 <= <sigma p - sigma q, p - q> *)
Lemma cocoercive n (sigma : nat -> R -> R) p q :
  (forall i, (i < n)%nat -> slopes 0 1 (sigma i)) ->
  square n (fun i => sigma i (p i) - sigma i (q i)) <= dot n (fun i => sigma i (p i) - sigma i (q i)) (vminus p q).
Proof.
  intros each. apply sum_le; intros i below. unfold vminus.
  destruct (slopes_between 0 1 (sigma i) (p i) (q i)) as (t & between & ->); [lra | auto |].
  assert (0 <= t * (1 - t)) by nra. pose proof (Rle_0_sqr (p i - q i)). unfold Rsqr in *. nra.
Qed.

(** Monotone and 1-Lipschitz pointwise is the same as slopes in [0, 1]. *)
Lemma monotone_nonexpansive_slopes f :
  (forall a b, b <= a -> f b <= f a) -> (forall a b, Rabs (f a - f b) <= Rabs (a - b)) -> slopes 0 1 f.
Proof.
  intros monotone nonexpansive a b order. specialize (monotone a b order). specialize (nonexpansive a b).
  rewrite !Rabs_right in nonexpansive by lra. lra.
Qed.
